"""The table that papers on missing modalities print: a filled dot for a modality that is there, an empty one if not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnunet_ext.evaluation.markdown import CONVENTION_WORDS, format_number, markdown_table
from nnunet_ext.missing_modalities.shapley import Channels

if TYPE_CHECKING:
    from nnunet_ext.missing_modalities.subset_scores import SubsetScores

PRESENT, MISSING = "●", "○"


def subset_cells(scores: "SubsetScores") -> tuple[list[str], list[list[str]]]:
    """Headings and cells: a dot a modality, Dice of every region and their mean; the last row is the mean of all."""
    headings = [*scores.names, *scores.table.columns]
    rows = [
        [*dots(subset, len(scores.names)), *map(format_number, values)]
        for subset, values in zip(scores.subsets, scores.table.to_numpy().tolist(), strict=True)
    ]
    means = ["mean", *[""] * (len(scores.names) - 1), *map(format_number, scores.table.mean().tolist())]
    return headings, [*rows, means]


def dots(subset: Channels, n_channels: int) -> list[str]:
    """One dot a channel."""
    return [PRESENT if channel in subset else MISSING for channel in range(n_channels)]


def subsets_as_markdown(scores: "SubsetScores") -> str:
    """The table of subsets and what each modality is worth, as a Markdown page."""
    lines = [
        "# Dice from subsets of the modalities",
        "",
        f"- Cases: {scores.dice['case'].nunique()}",
        f"- Convention for empty masks: `{scores.convention}` ({CONVENTION_WORDS[scores.convention]})",
        "- A missing modality is 0 everywhere after normalization.",
        "",
        *markdown_table(*subset_cells(scores)),
        "",
    ]
    if scores.worth is None:
        return "\n".join([*lines, "Shapley values need all subsets, or random orders (`--sample`).", ""])
    return "\n".join(
        [
            *lines,
            "## What each modality adds",
            "",
            worth_words(scores.orders, len(scores.subsets)),
            "",
            *markdown_table(["", *scores.worth.columns], _worth_cells(scores)),
            "",
        ]
    )


def worth_words(orders: int | None, n_subsets: int) -> str:
    """How the Shapley values were found."""
    how = (
        f"Exact, from all {n_subsets} subsets"
        if orders is None
        else f"An estimate from {orders} random orders ({n_subsets} subsets), not exact"
    )
    return (
        "Shapley value: the Dice that a modality adds, on average over all orders in which modalities could arrive; "
        f"without any modality nothing is segmented. {how}."
    )


def _worth_cells(scores: "SubsetScores") -> Sequence[list[str]]:
    assert scores.worth is not None
    return [
        [name, *map(format_number, values)]
        for name, values in zip(scores.worth.index, scores.worth.to_numpy().tolist(), strict=True)
    ]
