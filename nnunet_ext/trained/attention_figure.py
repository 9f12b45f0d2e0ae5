"""Figure of a case's heat maps over the image: a row a stream, a column a level."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from nnunet_ext.errors import UserError
from nnunet_ext.files.figure import save_figure
from nnunet_ext.trained.attention_maps import CaseAttention

LONGER_SIDE = 2.8  # of a panel, inches
NARROWEST = 1.6  # width of a panel, inches; its title needs as much
TITLE = 0.3  # height of a panel's title, inches
BAR = 0.12  # width of the colour bar, inches
CONTOUR = "magenta"  # in neither colour map
REFERENCE_CONTOUR = "white"  # Fig. 4
COLOURS = "jet"  # by hue, as the image below the map varies in brightness


def slice_with_most_foreground(foreground: np.ndarray) -> int:
    """Index along Z of the slice with the largest area; the middle one where there is none."""
    areas = foreground.sum(axis=(1, 2))
    return int(areas.argmax()) if areas.any() else len(areas) // 2


def draw_attention(case: CaseAttention, file: Path, slice_index: int | None = None) -> int:
    """Write the heat maps of one slice as an image.

    Each panel has its own colour range, which its title gives: maps of different levels can have ranges far apart.

    Args:
        case: Heat maps of a case; with a reference, its outline is drawn too, and the slice's Dice given (Fig. 4).
        file: File to write; matplotlib knows the format by its ending.
        slice_index: Slice along the first axis of the preprocessed image; None takes the one with the most predicted
            foreground, or, where nothing is predicted, with the most of the reference.

    Returns:
        The slice drawn.

    Raises:
        UserError: The case has no such slice, the folder does not exist, or the ending is not an image's.
    """
    n_slices = case.images.shape[1]
    shown = case.foreground if case.foreground.any() or case.reference is None else case.reference.foreground
    index = slice_with_most_foreground(shown) if slice_index is None else slice_index
    if not 0 <= index < n_slices:
        raise UserError(f"Slice {index} does not exist; the preprocessed case has the slices 0 to {n_slices - 1}.")
    if not file.parent.is_dir():
        raise UserError(f"Folder {file.parent} does not exist.")
    n_levels, n_streams = case.maps.shape[:2]
    aspect = case.spacing[1] / case.spacing[2]
    ratio = aspect * case.images.shape[2] / case.images.shape[3]
    width = max(NARROWEST, LONGER_SIDE / max(ratio, 1))
    total_height = (width * ratio + TITLE) * n_streams
    figure = Figure(figsize=((width + 0.1) * (n_levels + 1) + 1, total_height + 0.1), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if file.suffix.lstrip(".").lower() not in canvas.get_supported_filetypes():
        raise UserError(f"{file.name} has no ending that can be drawn to; use .png.")
    panels = figure.subplots(n_streams, n_levels + 1, squeeze=False)
    for stream, row in enumerate(panels):
        image = case.images[stream, index]
        for panel in row:
            # the brightest voxels, often vessels, would leave the rest dark
            panel.imshow(image, cmap="gray", aspect=aspect, vmin=image.min(), vmax=np.percentile(image, 99.5))
            panel.set_xticks([])
            panel.set_yticks([])
            if case.reference is not None:
                _outline(panel, case.reference.foreground[index], REFERENCE_CONTOUR, 1.4)
            _outline(panel, case.foreground[index], CONTOUR, 0.8)
        row[0].set_ylabel(case.streams[stream])
        for level, panel in enumerate(row[1:]):
            heat = case.maps[level, stream, index]
            panel.imshow(heat, cmap=COLOURS, aspect=aspect, alpha=0.6, vmin=heat.min(), vmax=heat.max())
            panel.set_title(f"level {level + 1}: {heat.min():.2f} to {heat.max():.2f}", fontsize=9)
    panels[0, 0].set_title(f"slice {index}, {_compared(case, index)}", fontsize=9)
    if case.reference is not None:
        panels[-1, 0].set_xlabel(f"{REFERENCE_CONTOUR}: reference, {CONTOUR}: prediction", fontsize=7)
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), ax=list(panels.flat), pad=0.01, aspect=total_height / BAR)
    bar.set_ticks([0, 1], labels=["lowest", "highest"])
    save_figure(figure, file)
    return index


def _outline(panel: Axes, mask: np.ndarray, colour: str, width: float) -> None:
    if mask.any() and not mask.all():
        panel.contour(mask, levels=[0.5], colors=colour, linewidths=width)


def _compared(case: CaseAttention, index: int) -> str:
    if case.reference is None:
        return "prediction"
    dice = case.dice(index)
    return "nothing to find" if math.isnan(dice) else f"Dice {100 * dice:.1f} %"
