"""``summary.md``: the aggregates as tables for people."""

import html
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from nnunet_ext.evaluation.detection import volume_words
from nnunet_ext.evaluation.summary import STATISTICS, heading

CONVENTION_WORDS = {
    "brats2020": "both masks empty: Dice 1, HD95 0 mm; one empty: Dice 0, HD95 373.12866 mm",
    "brats2018": "both masks empty: Dice 1; one empty: Dice 0; HD95 left out where a mask is empty",
    "nan": "both masks empty: case left out; one empty: Dice 0, HD95 left out",
}
DEFINITION_WORDS = {
    "pooled": "95th percentile of the voxel distances of both directions together (MedPy's)",
    "directed": "larger of the two directed 95th percentiles by surface area (surface-distance's, BraTS 2023's)",
}

LESION_WORDS = {
    "brats2023": "reference dilated and merged, every prediction that touches counts; missed and surplus lesions: Dice "
    "0, HD95 374 mm, `directed`; nothing to count: 1 and 0",
    "brats2025": "matched one to one; missed and surplus lesions: Dice 0, surface Dice 0 (border voxels, smallest "
    "spacing), HD95 373 mm, `pooled`; both empty: case left out",
    "detection": "",
}


def summary_as_markdown(summary: dict[str, Any], comparison: pd.DataFrame | None = None, other: str = "") -> str:
    """The summary as a Markdown page: how it was measured, one table a metric, and empty masks.

    Args:
        summary: From :func:`nnunet_ext.evaluation.summary.summarise`.
        comparison: From :func:`nnunet_ext.evaluation.comparison.compare`.
        other: Name of what it was compared with.
    """
    parts = ["# Evaluation", "", *(f"- {html.escape(line, quote=False)}" for line in measured_how(summary)), ""]
    regions = summary["regions"]
    for metric in next(iter(regions.values()))["metrics"]:
        rows = [
            [name, *(format_number(region["metrics"][metric][key]) for key in STATISTICS)]
            for name, region in regions.items()
        ]
        parts += [
            f"## {heading(metric, summary)}",
            "",
            *markdown_table(["", *STATISTICS.values()], rows),
            "",
        ]
    empty = [
        [name, *(str(region[f"{kind}_cases"]) for kind in ("false_positive", "false_negative", "both_empty"))]
        for name, region in regions.items()
    ]
    if detection := detection_tables(summary):
        for title, headings, cells in detection:
            parts += [f"## {title}", "", *markdown_table(headings, cells), ""]
    if "uncertainty" in summary:
        for title, headings, cells in uncertainty_tables(summary["uncertainty"]):
            parts += [f"## {title}", "", *markdown_table(headings, cells), ""]
        parts += [UNCERTAINTY_WORDS, ""]
    headings = ["", "False-positive cases", "False-negative cases", "Both empty"]
    parts += ["## Cases with empty masks", "", *markdown_table(headings, empty), ""]
    if comparison is not None:
        parts += [f"## Difference to {plain_text(other)}", "", *markdown_table(*comparison_cells(comparison)), ""]
        parts += [COMPARISON_WORDS, ""]
    return "\n".join(parts)


def detection_tables(summary: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and cells of the tables of lesions over all cases; none where lesions were not scored."""
    found = {name: region["detection"] for name, region in summary["regions"].items() if "detection" in region}
    if not found:
        return []
    words = {
        "lesions_found": "Found",
        "lesions_missed": "Missed",
        "lesions_surplus": "Surplus",
        "lesion_f1": "F1",
        "lesion_sensitivity": "Sensitivity",
        "lesion_precision": "Precision",
    }
    together = [[name, *(format_number(region[key]) for key in words)] for name, region in found.items()]
    by_volume = [
        [name, volume_words(row), str(row["found"]), str(row["lesions"]), format_number(row["sensitivity"])]
        for name, region in found.items()
        for row in region["sensitivity_by_volume"]
    ]
    headings = ["", f"Volume [{summary['volume_unit']}]", "Found", "Lesions", "Sensitivity"]
    return [
        (f"Lesions of all cases together, {summary['lesion_match']}", ["", *words.values()], together),
        ("Lesions found by volume", headings, by_volume),
    ]


COMPARISON_WORDS = (
    "Paired by case, this result minus the other. Interval: 95 % bootstrap interval of the mean difference (percentile "
    "method, 9999 samples). p: two-sided Wilcoxon signed-rank test, not corrected for the number of rows."
)


UNCERTAINTY_WORDS = (
    "QU-BraTS: areas under the curves over 41 thresholds of uncertainty, means over the cases; the score is the mean "
    "of the first and of 1 less the other two. AUROC: how often the expected Dice of a bad case is below that of a "
    "good one. Intervals: 95 %, percentiles of 9999 bootstrap samples of the cases in which the value is defined."
)


def uncertainty_tables(uncertainty: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and cells of the tables of ``evaluate --uncertainty``.

    Args:
        uncertainty: From :meth:`nnunet_ext.evaluation.uncertainty_scores.UncertaintyScores.summary`.
    """
    areas = {
        "dice_auc": "Dice left",
        "filtered_tp_auc": "Filtered true positives",
        "filtered_tn_auc": f"Filtered true negatives of the {uncertainty['true_negatives_of']}",
        "qu_score": "QU-BraTS score",
    }
    curves = [
        [f"{row['region']}, {row['map'].replace('_', ' ')}", *(format_number(row[name]) for name in areas)]
        for row in uncertainty["curves"]
    ]
    found = []
    for row in uncertainty["bad_cases"]:
        numbers = [str(row["n"]), str(row["num_bad"])]
        found.append([row["region"], *numbers, *(_with_interval(row, name) for name in ("auroc", "spearman"))])
    headings = ["", "Cases", f"Dice below {uncertainty['bad_dice']:g}", "AUROC", "Spearman's correlation with Dice"]
    return [
        ("Uncertain voxels and mistakes", ["", *areas.values()], curves),
        ("Expected Dice and bad cases", headings, found),
    ]


def _with_interval(row: dict[str, Any], name: str) -> str:
    value, low, high = (format_number(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})"


def measured_how(summary: dict[str, Any]) -> list[str]:
    """Lines that say how the numbers of a summary were measured."""
    convention, definition = summary["convention"], summary["hd95_definition"]
    lines = []
    if "nsd_tolerance" in summary:
        lines.append(
            f"Surface Dice within: {summary['nsd_tolerance']}; by area (surface-distance's) and by border voxels "
            "(panoptica's)"
        )
    if "lesions" in summary:
        words = LESION_WORDS[summary["lesions"].split()[0]]
        lines += [f"Lesions: `{summary['lesions']}` ({words})"] if words else []
        lines.append(f"Detection: lesions are matched one to one from {summary['lesion_match']} on")
    both = any("hd95_directed" in region["metrics"] for region in summary["regions"].values())
    return [
        f"Cases: {summary['num_cases']}",
        f"Convention for empty masks: `{convention}` ({CONVENTION_WORDS[convention]})",
        *(
            f"HD95: `{name}` ({DEFINITION_WORDS[name]})"
            for name in ((definition, "directed") if both else (definition,))
        ),
        *lines,
    ]


def mean_cells(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table of means: a row a metric, or a row a region where there are more of these."""
    regions = summary["regions"]
    metrics = next(iter(regions.values()))["metrics"]
    rows = [
        [
            heading(metric, summary),
            *(format_number(region["metrics"][metric]["mean"]) for region in regions.values()),
        ]
        for metric in metrics
    ]
    table = [["", *regions], *rows]
    if len(regions) > len(metrics):
        table = [list(cells) for cells in zip(*table, strict=True)]
    return table[0], table[1:]


def comparison_cells(comparison: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table of paired differences."""
    rows = [
        [
            row["region"],
            heading(row["metric"], row),
            str(row["n"]),
            format_number(row["mean_difference"]),
            f"{format_number(row['ci_low'])} to {format_number(row['ci_high'])}",
            format_number(row["wilcoxon_p"]),
        ]
        for row in comparison.to_dict("records")
    ]
    return ["Region", "Metric", "n", "Mean difference", "95 % interval", "p"], rows


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; all columns but the first are aligned to the right. Cells are plain text."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return ["| " + " | ".join(map(plain_text, row)) + " |" for row in (headings, rule, *rows)]


def plain_text(text: str) -> str:
    """Text for a Markdown page that no viewer takes for HTML, a link, an image, code or emphasis; in one line.

    Brackets and underscores stay as they are, since units and the inside of words need them.
    """
    special = re.sub(r"[\\`*|]|\](?=\()", r"\\\g<0>", " ".join(text.split()))
    return html.escape(special, quote=False)


def format_number(value: float | None) -> str:
    """Three decimals as in the papers' tables, integers as they are, small values in scientific notation."""
    if value is None or value != value:
        return "n/a"
    if isinstance(value, int):
        return str(value)
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}"
