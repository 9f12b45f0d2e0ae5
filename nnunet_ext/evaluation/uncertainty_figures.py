"""Figures of ``evaluate --uncertainty``: the challenge's curves, and expected against real Dice."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from nnunet_ext.evaluation.case_scores import BAD_DICE
from nnunet_ext.evaluation.uncertainty_curves import THRESHOLDS, Curves
from nnunet_ext.files.figure import names_as_they_are

STYLES = {"entropy": "-", "mutual_information": "--"}
TITLES = ("Dice of what is left", "Filtered true positives", "Filtered true negatives")
NUM_COLUMNS = 3


def curves_figure(curves: Mapping[tuple[str, str], Curves]) -> Figure:
    """A panel a curve, a colour a region, a line style a map; more is filtered to the right.

    Args:
        curves: ``(region, map)`` -> mean over the cases.
    """
    regions = list(dict.fromkeys(region for region, _ in curves))
    with names_as_they_are():
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        for index, (axes, title) in enumerate(zip(figure.subplots(1, 3), TITLES, strict=True)):
            for (region, kind), found in curves.items():
                label = f"{region}, {kind.replace('_', ' ')}"
                axes.plot(1 - THRESHOLDS, found[index], STYLES[kind], color=f"C{regions.index(region)}", label=label)
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="1 - threshold of uncertainty")
            axes.set_title(title, fontsize=9)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    return figure


def expected_dice_figure(cases: pd.DataFrame) -> Figure:
    """A panel a region, a point a case: expected Dice and Dice; crosses are flagged.

    Args:
        cases: Rows with ``region``, ``expected_dice``, ``dice`` and ``flagged``.
    """
    regions = list(cases["region"].unique())
    columns = min(NUM_COLUMNS, len(regions))
    rows = -(-len(regions) // columns)
    with names_as_they_are():
        figure = Figure(figsize=(3.4 * columns, 3.5 * rows), layout="constrained")
        for position, region in enumerate(regions, start=1):
            axes = figure.add_subplot(rows, columns, position)
            axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
            axes.axhline(BAD_DICE, color="0.7", linewidth=1, linestyle=":")
            of_region = cases[cases["region"] == region]
            for is_flagged, marker, words in ((False, "o", "not flagged"), (True, "x", "flagged")):
                shown = of_region[of_region["flagged"].astype(bool) == is_flagged]
                axes.plot(shown["expected_dice"], shown["dice"], marker, markersize=4, label=words)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xlabel="expected Dice", ylabel="Dice")
            axes.set_title(region, fontsize=9)
            axes.legend(fontsize=7)
    return figure
