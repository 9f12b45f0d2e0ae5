"""Contours of reference and prediction on the images, for the best, the median and the worst case and any other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import ndimage

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.uncertainty_folder import UncertaintyFolder
from nnunet_ext.images.map_image import read_map
from nnunet_ext.images.reader import read_array
from nnunet_ext.labels.dataset_labels import DatasetLabels, Region, brats_regions
from nnunet_ext.labels.label_image import read_label_image
from nnunet_ext.plans.modalities import channel_names, normalise

# Channels in which a region of BraTS shows, the best first: the oedema that the whole tumour adds is bright in FLAIR
# and T2, the core and its enhancing rim are told apart after contrast agent.
BRATS_CHANNELS = {
    "whole tumor": ("FLAIR", "T2"),
    "tumor core": ("T1ce", "T2"),
    "enhancing tumor": ("T1ce",),
}
BRATS_COLOURS = {"whole tumor": "limegreen", "tumor core": "red", "enhancing tumor": "gold"}
OTHER_COLOURS = ("red", "limegreen", "gold", "dodgerblue", "magenta", "orange", "white")
REFERENCE_COLOUR = "cyan"  # beside the prediction; not one of the regions', and no tissue is cyan
REFERENCE_WORDS = "reference, beside the prediction"
ENTROPY_WORDS = "entropy, 0 to 1 bit"
RING = 3  # voxels around a region that it is compared with, where a channel is chosen by contrast
BACKGROUND = 0.05  # of the range of an image; what is darker all around is cut off
MARGIN = 4  # voxels around the head


@dataclass(frozen=True)
class Case:
    """Images and label maps of a case.

    Args:
        channels: ``(C, Z, Y, X)``.
        reference: ``(Z, Y, X)``.
        prediction: ``(Z, Y, X)``.
        aspect: Height of a voxel over its width in an axial slice.
        flips: Turn a slice so that anterior is up and the patient's right is left.
        entropies: Region -> entropy in [0, 1], ``(Z, Y, X)``; empty without maps of uncertainty.
    """

    channels: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    aspect: float
    flips: tuple[slice, slice]
    entropies: Mapping[str, np.ndarray] = field(default_factory=dict)


def cases_to_show(metrics: pd.DataFrame) -> dict[str, str]:
    """Best, median and worst case by mean Dice over the regions: ``"best (Dice 0.912)"`` -> case.

    Of an even number of cases the better of the two in the middle is the median one; fewer than three cases give fewer
    entries.
    """
    ranked = metrics.groupby("case")["dice"].mean().dropna().sort_values(ascending=False, kind="stable")
    if ranked.empty:
        return {}
    positions = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
    chosen: dict[str, str] = {}
    for word, position in positions.items():
        case = str(ranked.index[position])
        if case not in chosen.values():
            chosen[f"{word} (Dice {ranked.iloc[position]:.3f})"] = case
    return chosen


def overlays(
    cases: Mapping[str, str], image_folder: Path, references: Mapping[str, Path], predictions: Mapping[str, Path],
    labels: DatasetLabels, *, with_legend: bool = True, maps: UncertaintyFolder | None = None,
) -> Figure:  # fmt: skip
    """A row a case and channel: the image, the reference's contours on it, and the prediction's over the reference's.

    Each region is drawn on the channel in which it shows, in the axial slice with most of it in the reference, or in
    the prediction where the reference has none. Slices are cut to the head.

    Args:
        cases: Heading -> case identifier; at least one. An empty heading leaves the row without words.
        image_folder: Folder with ``<case>_0000<ending>`` and so on.
        references: Case -> label image.
        predictions: Case -> label image.
        labels: The data set's labels.
        with_legend: Whether the figure says whose contours are whose; where many are shown, one legend does for all.
        maps: Maps of uncertainty; adds the entropy beside the prediction, the largest of the regions of the row.

    Raises:
        InputError: A file is missing or unreadable, or images and labels differ in shape.
    """
    names = channel_names(labels.content)
    rows = []
    for heading, name in cases.items():
        case = _read_case(name, image_folder, reference=references[name], prediction=predictions[name], labels=labels)
        if maps is not None:
            case = replace(case, entropies=_read_entropies(name, maps, labels, predictions[name]))
        label = f"{heading}\n{name}" if heading else ""
        rows += [(label, case, channel, regions) for channel, regions in _channel_rows(case, labels, names)]
    columns = 3 if maps is None else 4
    figure = Figure(figsize=(2.8 * columns, 2.8 * len(rows) + 0.5 * with_legend), layout="constrained")
    colours = region_colours(labels)
    for axes_of_row, (label, case, channel, regions) in zip(
        figure.subplots(len(rows), columns, squeeze=False), rows, strict=True
    ):
        _draw_row(axes_of_row, case, channel=channel, name=names[channel], regions=regions, colours=colours)
        axes_of_row[0].set_ylabel(label, fontsize=9)
    if with_legend:
        handles = [Line2D([], [], color=colours[region.name], label=region.name) for region in labels.regions]
        handles.append(Line2D([], [], color=REFERENCE_COLOUR, linestyle=":", label=REFERENCE_WORDS))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(4, len(handles)), fontsize=10, facecolor="black",
            labelcolor="white",
        )  # fmt: skip
    return figure


def region_colours(labels: DatasetLabels) -> dict[str, str]:
    """Colour of each region or label."""
    if labels.is_brats:
        named = {region.name: BRATS_COLOURS[common] for common, region in brats_regions(labels).items()}
        others = (colour for colour in OTHER_COLOURS if colour not in named.values())
        return {region.name: named.get(region.name) or next(others) for region in labels.regions}
    return {region.name: OTHER_COLOURS[index % len(OTHER_COLOURS)] for index, region in enumerate(labels.regions)}


def channel_of(
    region: Region, labels: DatasetLabels, names: Sequence[str], channels: np.ndarray, mask: np.ndarray
) -> int:
    """Channel in which a region shows: by name for those of BraTS, else the one with most contrast to what is around.

    Args:
        region: The region.
        labels: The data set's labels.
        names: Channel names, in channel order.
        channels: Images, ``(C, Z, Y, X)``.
        mask: The region, ``(Z, Y, X)``; where it is empty, the first channel is taken unless names decide.
    """
    if labels.is_brats:
        common = next((name for name, other in brats_regions(labels).items() if other == region), None)
        modalities = [normalise(name) for name in names]
        for wanted in BRATS_CHANNELS.get(common or "", ()):
            if wanted in modalities:
                return modalities.index(wanted)
    if not mask.any():
        return 0
    around = ndimage.binary_dilation(mask, iterations=RING) & ~mask & (channels != channels.min()).any(axis=0)
    if not around.any():
        return 0
    contrasts = [
        abs(channel[mask].mean() - channel[around].mean()) / (channel[mask].std() + channel[around].std() + 1e-6)
        for channel in channels
    ]
    return int(np.argmax(contrasts))


def head_box(channels: np.ndarray, shown: np.ndarray) -> tuple[slice, slice]:
    """Box around what is not background in a slice, with a margin.

    Args:
        channels: Channels of a slice, ``(C, Y, X)``.
        shown: What must not be cut off, ``(Y, X)``.
    """
    mask = shown.copy()
    for channel in channels:
        low, high = channel.min(), np.percentile(channel, 99.5)
        mask |= channel > low + BACKGROUND * (high - low)
    if not mask.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(rows[0] - MARGIN, 0), rows[-1] + MARGIN + 1),
        slice(max(columns[0] - MARGIN, 0), columns[-1] + MARGIN + 1),
    )


def _channel_rows(case: Case, labels: DatasetLabels, names: Sequence[str]) -> Iterator[tuple[int, list[Region]]]:
    """Channels to show, in order, and the regions on each."""
    of_channel: dict[int, list[Region]] = {}
    for region in labels.regions:
        mask = region.mask(case.reference)
        mask = mask if mask.any() else region.mask(case.prediction)
        of_channel.setdefault(channel_of(region, labels, names=names, channels=case.channels, mask=mask), []).append(
            region
        )
    yield from of_channel.items()


def _draw_row(
    axes_of_row: Sequence[Axes],
    case: Case,
    channel: int,
    name: str,
    regions: Sequence[Region],
    colours: Mapping[str, str],
) -> None:
    together = Region("", tuple({label for region in regions for label in region.labels}))
    masks = [together.mask(label_map) for label_map in (case.reference, case.prediction)]
    entropy = np.max([case.entropies[region.name] for region in regions], axis=0) if case.entropies else None
    index = _slice_to_show(*masks)
    if entropy is not None and not masks[0].any() and not masks[1].any():
        index = int(entropy.sum(axis=(1, 2)).argmax())
    box = head_box(case.channels[:, index], masks[0][index] | masks[1][index])
    image = case.channels[channel, index][box][case.flips]
    titles = [name, f"{name}: reference", f"{name}: prediction", *([ENTROPY_WORDS] if entropy is not None else [])]
    for axes, title in zip(axes_of_row, titles, strict=True):
        axes.imshow(
            image,
            cmap="gray",
            aspect=case.aspect,
            vmin=image.min(),
            vmax=max(np.percentile(image, 99.5), image.min() + 1e-6),
        )
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=12)  # legible on a phone, too
    if entropy is not None:
        values = entropy[index][box][case.flips]
        # opaque where it is uncertain, so that the image shows where it is not
        axes_of_row[3].imshow(values, cmap="inferno", vmin=0, vmax=1, alpha=np.sqrt(values), aspect=case.aspect)
    for region in regions:
        reference, prediction = (
            region.mask(label_map[index])[box][case.flips] for label_map in (case.reference, case.prediction)
        )
        _contour(axes_of_row[1], reference, colour=colours[region.name], style="-", width=1.6)
        _contour(axes_of_row[2], prediction, colour=colours[region.name], style="-", width=1.6)
        _contour(axes_of_row[2], reference, colour=REFERENCE_COLOUR, style=":", width=1.3)


def _contour(axes: Axes, mask: np.ndarray, colour: str, style: str, width: float) -> None:
    if mask.any():
        # padded, so that a region at the edge of the picture is closed there
        padded = np.pad(mask, 1).astype(float)
        extent = range(-1, mask.shape[1] + 1), range(-1, mask.shape[0] + 1)
        limits = axes.get_xlim(), axes.get_ylim()
        axes.contour(*extent, padded, levels=[0.5], colors=colour, linestyles=style, linewidths=width)
        axes.set(xlim=limits[0], ylim=limits[1])


def _read_case(name: str, folder: Path, reference: Path, prediction: Path, labels: DatasetLabels) -> Case:
    files = [folder / f"{name}_{index:04d}{labels.file_ending}" for index in range(len(channel_names(labels.content)))]
    channels, properties = _read_channels(files, labels)
    maps = [read_array(path, labels.content)[0][0] for path in (reference, prediction)]
    if any(label_map.shape != channels.shape[1:] for label_map in maps):
        raise InputError(f"{files[0]}: shape {channels.shape[1:]} differs from the labels' {maps[0].shape}.")
    spacing = properties["spacing"]
    reference_map, predicted_map = maps
    return Case(channels, reference_map, predicted_map, aspect=spacing[1] / spacing[2], flips=_flips(properties))


def _read_entropies(
    name: str, maps: UncertaintyFolder, labels: DatasetLabels, prediction: Path
) -> dict[str, np.ndarray]:
    grid = read_label_image(prediction, labels.content).grid
    shape = (1,) * (3 - len(grid.shape)) + grid.shape
    return {
        region.name: read_map(maps.map_file("entropy", region.name, name), grid).reshape(shape) / maps.largest
        for region in labels.regions
    }


def _read_channels(files: list[Path], labels: DatasetLabels) -> tuple[np.ndarray, dict[str, Any]]:
    if not files[0].is_file():
        raise InputError(f"{files[0]}: no such file.")
    # Images of several channels in one file (RGB) have one file for all channels.
    read = [read_array(path, labels.content) for path in files if path.is_file()]
    channels = np.concatenate([array for array, _ in read])
    if len(channels) < len(files):
        raise InputError([f"{path}: no such file." for path in files if not path.is_file()])
    return channels[: len(files)], read[0][1]


def _flips(properties: Mapping[str, Any]) -> tuple[slice, slice]:
    """Turns a slice so that anterior is up and the patient's right is left, where the header says how it lies."""
    geometry = properties.get("sitk_stuff")
    if geometry is None or len(geometry["direction"]) != 9:
        return slice(None), slice(None)
    direction = np.reshape(geometry["direction"], (3, 3))
    backwards = slice(None, None, -1)
    return (backwards if direction[1, 1] < 0 else slice(None)), (backwards if direction[0, 0] < 0 else slice(None))


def _slice_to_show(reference: np.ndarray, prediction: np.ndarray) -> int:
    mask = reference if reference.any() else prediction
    return int(np.count_nonzero(mask, axis=(1, 2)).argmax()) if mask.any() else len(mask) // 2
