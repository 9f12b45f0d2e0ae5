"""Reliability diagrams: how often what gets a probability is so, before and after calibration."""

from matplotlib.figure import Figure

from nnunet_ext.files.figure import names_as_they_are
from nnunet_ext.uncertainty.calibration_file import Calibration

NUM_COLUMNS = 3
FEWEST_VOXELS = 20  # in a bin that is drawn; the frequency of fewer jumps


def reliability_figure(calibration: Calibration) -> Figure:
    """A panel a region: frequency over mean probability of the bins, on folds left out; the diagonal is perfect.

    Args:
        calibration: What ``nnunet_ext calibrate`` found.
    """
    regions = calibration.held_out
    columns = min(NUM_COLUMNS, len(regions))
    rows = -(-len(regions) // columns)
    with names_as_they_are():
        figure = Figure(figsize=(3.6 * columns, 3.8 * rows), layout="constrained")
        for position, (name, scores) in enumerate(regions.items(), start=1):
            axes = figure.add_subplot(rows, columns, position)
            axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
            for words, style, colour, one in (
                ("as saved", "o--", "C1", scores.before), ("calibrated", "o-", "C0", scores.after)
            ):  # fmt: skip
                shown = [index for index, count in enumerate(one.counts) if count >= FEWEST_VOXELS]
                axes.plot(
                    [one.confidences[index] for index in shown],
                    [one.frequencies[index] for index in shown],
                    style,
                    color=colour,
                    markersize=3,
                    label=f"{words}, ECE {one.ece:.4f}",
                )
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="mean probability", ylabel="frequency")
            axes.set_title(name, fontsize=9)
            axes.legend(fontsize=7, loc="upper left")
    return figure
