"""Plot of a training's health, beside nnU-Net's ``progress.png``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnunet_ext.files.figure import names_as_they_are, save_figure
from nnunet_ext.trainers.health import (
    CALLED,
    CLIPPED_NORM,
    CLIPPED_STEPS,
    NORM,
    REFERENCE,
    REGION_GRADIENT,
    SATURATED,
    SHARE_PREFIX,
)

EPOCHS_BETWEEN_PLOTS = 10


def is_drawn_after(epochs: int, num_epochs: int) -> bool:
    """Whether a training draws its health now: in its first epochs, its last, and every tenth, as a plot takes time.

    Args:
        epochs: Epochs that are done.
        num_epochs: Epochs of the whole training.
    """
    return epochs <= EPOCHS_BETWEEN_PLOTS or epochs % EPOCHS_BETWEEN_PLOTS == 0 or epochs == num_epochs


def plot_health(curves: Mapping[str, Sequence[Any]], regions: Sequence[str], file: str) -> None:
    """Write :func:`health_figure` as an image.

    Args:
        curves: The log, name -> a value an epoch.
        regions: Names of the regions.
        file: PNG to write.
    """
    with names_as_they_are():
        figure = health_figure(curves, regions)
    save_figure(figure, Path(file), dpi=100)


def health_figure(curves: Mapping[str, Sequence[Any]], regions: Sequence[str]) -> Figure:
    """What regions are called, saturated probabilities, gradients and clipping, and the weight of loss components.

    Args:
        curves: The log, name -> a value an epoch.
        regions: Names of the regions.
    """
    shares = {key.removeprefix(SHARE_PREFIX): values for key, values in curves.items() if key.startswith(SHARE_PREFIX)}
    # without pyplot, whose global state belongs to nnU-Net's own plot
    figure = Figure(figsize=(8, 2.5 * (5 + bool(shares))), layout="constrained")
    FigureCanvasAgg(figure)
    called, saturated, gradients, norms, clipped, *components = figure.subplots(5 + bool(shares), 1, sharex=True)
    for index, region in enumerate(regions):
        colour = f"C{index}"
        _line(called, [of[index] for of in curves[CALLED]], label=region, color=colour)
        _line(called, [of[index] for of in curves[REFERENCE]], linestyle="--", color=colour)
        _line(saturated, [of[index] for of in curves[SATURATED]], label=region, color=colour)
        _line(gradients, [of[index] for of in curves[REGION_GRADIENT]], label=region, color=colour)
    called.set_yscale("symlog", linthresh=1e-4)
    called.set_ylabel("share of voxels\n(dashed: reference)")
    saturated.set_ylabel("saturated\nprobabilities")
    gradients.set_yscale("symlog", linthresh=1e-6)
    gradients.set_ylabel("gradient at\nthe logits")
    _line(norms, curves[NORM], label="before clipping")
    _line(norms, curves[CLIPPED_NORM], linestyle="--", label="after")
    norms.set_ylabel("gradient norm")
    _line(clipped, curves[CLIPPED_STEPS])
    clipped.set_ylabel("clipped steps")
    for panel in components:
        for name, values in shares.items():
            measured = [(epoch, value) for epoch, value in enumerate(values) if value == value]
            panel.plot(*zip(*measured, strict=True) if measured else ((), ()), marker="o", label=name.replace("_", " "))
        panel.set_ylabel("component's share\nof the gradient")
    for panel in (saturated, clipped, *components):
        panel.set_ylim(-0.02, 1.02)
    for panel in (called, gradients):
        panel.yaxis.set_major_formatter("{x:g}")  # matplotlib's own writes powers as formulas
    for panel in (called, saturated, gradients, norms, clipped, *components):
        panel.grid(alpha=0.3)
        if panel is not clipped:
            panel.legend(fontsize=7)
    (components or [clipped])[-1].set_xlabel("epoch")
    return figure


def _line(panel: Axes, values: Sequence[float], **style: Any) -> None:
    panel.plot(values, marker="o" if len(values) < 20 else None, **style)
