"""Images, reference and predictions side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nnunet_ext.files.figure import save_figure

MOST_CASES = 4  # rows
MOST_CHANNELS = 4  # columns of images
_COLOURS = ("#d62728", "#2ca02c", "#ffd92f", "#1f77b4", "#e377c2", "#17becf", "#ff7f0e", "#9467bd")


def draw(
    path: Path,
    images: Mapping[str, np.ndarray],
    segmentations: Mapping[str, Mapping[str, np.ndarray]],
    channel_names: Sequence[str],
    legend: Mapping[int, str],
) -> None:
    """Writes a picture with one row a case, at the slice with most of the reference.

    Args:
        path: PNG to write.
        images: Case -> images `(C, Z, Y, X)`.
        segmentations: Column title -> case -> labels `(Z, Y, X)`; the first column is the reference.
        channel_names: Name of each channel.
        legend: Label -> name.
    """
    cases, channels = list(images)[:MOST_CASES], list(channel_names)[:MOST_CHANNELS]
    columns = len(channels) + len(segmentations)
    figure = Figure(figsize=(1.9 * columns, 2.1 * len(cases) + 0.7), layout="constrained")
    axes = figure.subplots(len(cases), columns, squeeze=False)
    colours = ListedColormap([_COLOURS[label % len(_COLOURS)] for label in range(max(legend, default=0) + 1)])
    reference = next(iter(segmentations.values()))
    for row, case in zip(axes, cases, strict=True):
        position = widest_slice(reference[case])
        for axis, title, image in zip(row, channels, images[case], strict=False):
            _show(axis, title, image[position])
        for axis, (title, labels) in zip(row[len(channels) :], segmentations.items(), strict=True):
            _show(axis, title, images[case][len(channels) - 1, position])
            shown = np.ma.masked_equal(labels[case][position], 0)
            axis.imshow(shown, cmap=colours, vmin=0, vmax=colours.N - 1, alpha=0.65, interpolation="nearest")
        row[0].set_ylabel(case, fontsize=7)
    for axis in axes[1:].flat:
        axis.set_title("")
    handles = [Patch(color=colours(label), label=f"{label}: {name}") for label, name in legend.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, max(1, len(handles))), fontsize=7)
    save_figure(figure, path)


def widest_slice(labels: np.ndarray) -> int:
    """Index of the slice along Z with most foreground in labels `(Z, Y, X)`; the middle one if there is none."""
    area = (labels > 0).sum(axis=(1, 2))
    return int(area.argmax()) if area.any() else len(area) // 2


def label_legend(labels: Mapping[str, int | list[int]]) -> dict[int, str]:
    """Names of each label value in `dataset.json`'s labels; for regions, all the regions the value belongs to."""
    legend: dict[int, list[str]] = {}
    for name, values in labels.items():
        if name in ("background", "ignore"):
            continue
        for value in values if isinstance(values, list) else [values]:
            legend.setdefault(value, []).append(name)
    return {value: ", ".join(names) for value, names in sorted(legend.items())}


def _show(axis, title: str, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray")
    axis.set_title(title, fontsize=7)
    axis.set_xticks([])
    axis.set_yticks([])
