"""Picture of what the autoencoder branch makes of an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from nnunet_ext.files.figure import save_figure


def most_labelled_slice(target: Tensor, axis: int) -> int:
    """Index of the slice with most labelled voxels, the middle one where nothing is labelled.

    Args:
        target: ``(C, *spatial)``, labels or one-hot regions; 0 is background.
        axis: Spatial axis across the slices, counted from 0.
    """
    labelled = (target > 0).any(0)
    counts = labelled.movedim(axis, 0).flatten(1).sum(1)
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def plot_reconstruction(rows: Mapping[str, np.ndarray], names: Sequence[str], file: str) -> None:
    """Write one column a channel and one row a picture of it, all of a column in the grey scale of the first row.

    Args:
        rows: Name of the row -> ``(C, Y, X)``; the network input first.
        names: Name of each channel.
        file: PNG to write.
    """
    reference = next(iter(rows.values()))
    figure = Figure(figsize=(2.5 * len(names), 2.6 * len(rows) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for column, name in enumerate(names):
        low, high = np.percentile(reference[column], (0.5, 99.5))
        for row, pictures in enumerate(rows.values()):
            axes[row, column].imshow(pictures[column], cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
            axes[row, column].set_axis_off()
        axes[0, column].set_title(name)
    figure.suptitle("; ".join(f"{number}: {name}" for number, name in enumerate(rows, 1)), fontsize=9)
    save_figure(figure, Path(file), dpi=100)
