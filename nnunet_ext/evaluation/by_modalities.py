"""Scores split by the modalities that each case had."""

from collections.abc import Mapping, Sequence

import pandas as pd

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.markdown import format_number, markdown_table
from nnunet_ext.evaluation.summary import heading, measured, metrics_of


def split_by_modalities(metrics: pd.DataFrame, present: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Means over the cases that had the same modalities, fewest modalities first.

    Args:
        metrics: Rows of ``metrics.csv``.
        present: Case -> names of the modalities that it had.

    Returns:
        One row a set of modalities and region: ``modalities``, ``region``, ``n`` (cases), and every metric's mean.

    Raises:
        InputError: A case whose modalities are not known.
    """
    if unknown := sorted(set(metrics["case"]) - set(present)):
        raise InputError(f"It is not known which modalities these cases had: {', '.join(unknown)}.")
    names = {case: "+".join(has) for case, has in present.items()}
    order = sorted({(len(present[case]), names[case]) for case in metrics["case"].unique()})
    regions = list(dict.fromkeys(metrics["region"]))
    columns = [metric for metric in metrics_of(metrics) if metrics[metric].notna().any()]
    rows = []
    for _, name in order:
        of_cases = metrics[metrics["case"].map(names) == name]
        for region in regions:
            scored = of_cases[of_cases["region"] == region]
            means = scored[columns].mean()
            rows.append({"modalities": name, "region": region, "n": len(scored), **means.to_dict()})
    return pd.DataFrame(rows)


def modalities_as_markdown(split: pd.DataFrame, metrics: pd.DataFrame) -> str:
    """Section of ``summary.md``: a table of the means.

    Args:
        split: From :func:`split_by_modalities`.
        metrics: Rows of ``metrics.csv``, which say how they were measured.
    """
    columns = list(split.columns[3:])
    rows = [
        [str(row["modalities"]), str(row["region"]), str(row["n"]), *(format_number(row[c]) for c in columns)]
        for row in split.to_dict("records")
    ]
    headings = ["Modalities", "Region", "Cases", *(heading(column, measured(metrics)) for column in columns)]
    return "\n".join(["## Means by the modalities that a case had", "", *markdown_table(headings, rows), ""])
