"""Figure of a case's slices: the classifier's probability, the segmented area, and what the gate removed."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nnunet_ext.files.figure import save_figure
from nnunet_ext.trained.slice_probabilities import CaseSlices

KEPT, REMOVED, PROBABILITY = "tab:blue", "tab:red", "black"


def draw_slices(slices: CaseSlices, case: str, path: Path) -> None:
    """Write a panel a region: bars of segmented voxels, kept and removed by the gate, under the slice probability.

    Args:
        slices: Of the case.
        case: Its identifier, for the title.
        path: PNG to write.
    """
    n_regions, n_slices = slices.probability.shape
    figure = Figure(figsize=(max(6.0, min(14.0, 1.5 + 0.07 * n_slices)), 0.6 + 2.0 * n_regions), layout="constrained")
    panels = figure.subplots(n_regions, 1, sharex=True, squeeze=False)[:, 0]
    positions = np.arange(n_slices)
    for row, (panel, region) in enumerate(zip(panels, slices.regions, strict=True)):
        kept = np.minimum(slices.before, slices.after)[row]
        removed = slices.before[row] - kept
        panel.bar(positions, kept, width=1, color=KEPT, label="voxels kept")
        panel.bar(positions, removed, width=1, bottom=kept, color=REMOVED, label="voxels removed by the gate")
        panel.set_ylabel(f"{region}\nvoxels a slice", fontsize=8)
        panel.set_title(_summary(slices, row), fontsize=8, loc="left")
        scale = panel.twinx()
        scale.plot(positions, slices.probability[row], color=PROBABILITY, linewidth=1.2, label="slice probability")
        scale.axhline(0.5, color=PROBABILITY, linewidth=0.6, linestyle=":")
        scale.set(ylim=(-0.02, 1.05), yticks=(0, 0.5, 1))
        scale.set_ylabel("probability", fontsize=8)
        if row == 0:
            handles = [*panel.get_legend_handles_labels()[0], *scale.get_legend_handles_labels()[0]]
            figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7, frameon=False, title=case)
    panels[-1].set_xlabel("slice of the image file, from 0")
    save_figure(figure, path)


def _summary(slices: CaseSlices, row: int) -> str:
    before, after = int(slices.before[row].sum()), int(slices.after[row].sum())
    emptied = np.flatnonzero(slices.emptied[row])
    where = f" ({_ranges(emptied)})" if len(emptied) else ""
    return f"{before} voxels without the gate, {after} with it; {len(emptied)} slices emptied{where}"


def _ranges(indices: np.ndarray) -> str:
    """``"3-5, 9"``; the first five runs."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
