"""Table of a model's cases, the worst first, and overlays of those that are worth a look."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.markdown import format_number
from nnunet_ext.evaluation.overlays import cases_to_show, overlays
from nnunet_ext.evaluation.summary import heading, measured
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.report.section import OVERLAY_DPI, Cell, Picture, Table, picture

FAILED_DICE = 0.5  # our choice: below it, less than half of the two masks together is shared
NUM_WORST = 10  # cases with an overlay, beside the median and the best: a page of all would be too large


def rank_cases(metrics: pd.DataFrame) -> list[str]:
    """Cases by mean Dice over the regions, the worst first; those without a value last."""
    means = metrics.groupby("case")["dice"].mean()
    return [str(case) for case in means.sort_values(kind="stable", na_position="last").index]


def problems_of(row: Mapping[str, object]) -> str | None:
    """What is wrong with a region of a case; None where nothing is.

    Args:
        row: Row of ``metrics.csv``.
    """
    if row["empty"] == "prediction":
        return f"{row['region']} missed"
    if row["empty"] == "reference":
        return f"{row['region']} where there is none"
    dice = float(row["dice"])  # type: ignore[arg-type]
    return f"{row['region']} Dice {dice:.2f}" if dice < FAILED_DICE else None


def case_table(metrics: pd.DataFrame, anchors: Mapping[str, str]) -> Table:
    """A row a case, the worst first: what is wrong, Dice and HD95 of each region.

    Args:
        metrics: Rows of ``metrics.csv``.
        anchors: Case -> anchor of its overlay, for those that have one.
    """
    regions = list(metrics["region"].unique())
    shown = ("dice", "hd95")
    how = measured(metrics)
    headings = ["Case", "What fails", *(f"{heading(metric, how)}: {region}" for metric in shown for region in regions)]
    of_case = {str(case): rows.to_dict("records") for case, rows in metrics.groupby("case")}
    rows: list[list[str | Cell]] = []
    for case in rank_cases(metrics):
        problems = {row["region"]: problems_of(row) for row in of_case[case]}
        by_region = {row["region"]: row for row in of_case[case]}
        rows.append(
            [
                Cell(case, anchors.get(case, "")),
                ", ".join(problem for problem in problems.values() if problem),
                *(
                    Cell(format_number(by_region[region][metric]), is_bad=problems[region] is not None)
                    for metric in shown
                    for region in regions
                ),
            ]
        )
    failed = sum(bool(row[1]) for row in rows)
    caption = f"{failed} of {len(rows)} cases fail in a region (missed, false positive, or Dice below {FAILED_DICE})"
    return Table(headings, rows, caption, wide=True, long=True)


def case_overlays(
    metrics: pd.DataFrame,
    folder: Path,
    references: Mapping[str, Path],
    predictions: Mapping[str, Path],
    labels: DatasetLabels,
    prefix: str,
) -> tuple[dict[str, Picture], list[str]]:
    """Overlays of the worst, the median and the best cases.

    Args:
        metrics: Rows of ``metrics.csv``.
        folder: Folder of the images.
        references: Case -> label image.
        predictions: Case -> label image.
        labels: The data set's labels.
        prefix: What anchors begin with.

    Returns:
        Case -> picture, the worst first, and why there is none of some.
    """
    words = {case: word.partition(" (")[0] for word, case in cases_to_show(metrics).items()}
    means = metrics.groupby("case")["dice"].mean()
    ranked = rank_cases(metrics)
    pictures, problems = {}, []
    for index, case in enumerate(ranked):
        if index >= NUM_WORST and case not in words:
            continue
        title = ", ".join([*([words[case]] if case in words else []), f"mean Dice {format_number(float(means[case]))}"])
        try:
            figure = overlays(
                {"": case}, folder, references=references, predictions=predictions, labels=labels, with_legend=False
            )
        except InputError as error:  # images are the one input that a report can do without
            problems.append(f"No overlay of {case}: {error}")
            continue
        pictures[case] = picture(figure, f"{case}: {title}", f"{prefix}-case-{index}", OVERLAY_DPI)
    return pictures, problems
