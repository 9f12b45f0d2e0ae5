"""Images beside reference and prediction for the best, the median and the worst case (Fig. 2 of Wang et al.)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nnunet_ext.errors import InputError
from nnunet_ext.labels.dataset_labels import DatasetLabels, brats_regions
from nnunet_ext.labels.label_image import read_array
from nnunet_ext.plans.modalities import channel_names

# Fig. 2: enhancing tumor yellow, edema green, necrotic and non-enhancing tumor red
BRATS_COLOURS = {"enhancing tumor": "gold", "edema": "limegreen", "necrotic and non-enhancing": "red"}
OTHER_COLOURS = ("red", "limegreen", "gold", "dodgerblue", "magenta", "cyan", "orange", "white")


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
    labels: DatasetLabels,
) -> Figure:  # fmt: skip
    """One row a case: every channel, then the first channel with the reference and with the prediction.

    The slice shown is the axial one with most foreground in the reference, or in the prediction where that is empty.

    Args:
        cases: Heading -> case identifier; at least one.
        image_folder: Folder with ``<case>_0000<ending>`` and so on.
        references: Case -> label image.
        predictions: Case -> label image.
        labels: The data set's labels.

    Raises:
        InputError: A file is missing or unreadable, or images and labels differ in shape.
    """
    names = channel_names(labels.content)
    colours = _colours(labels)
    figure = Figure(figsize=(2.2 * (len(names) + 2), 2.5 * len(cases) + 0.4), layout="constrained")
    grid = figure.subplots(len(cases), len(names) + 2, squeeze=False)
    for axes_of_case, (heading, case) in zip(grid, cases.items(), strict=True):
        files = [image_folder / f"{case}_{index:04d}{labels.file_ending}" for index in range(len(names))]
        channels, spacing, flips = _read_channels(files, labels)
        maps = [read_array(path[case], labels.content)[0][0] for path in (references, predictions)]
        if any(label_map.shape != channels.shape[1:] for label_map in maps):
            raise InputError(f"{files[0]}: shape {channels.shape[1:]} differs from the labels' {maps[0].shape}.")
        shown = _slice_to_show(*maps)
        aspect = spacing[1] / spacing[2]
        for index, name in enumerate((*names, "reference", "prediction")):
            axes = axes_of_case[index]
            channel = channels[index if index < len(names) else 0, shown][flips]
            axes.imshow(channel, cmap="gray", aspect=aspect, vmin=channel.min(), vmax=np.percentile(channel, 99.5))
            if index >= len(names):
                _paint(axes, maps[index - len(names)][shown][flips], colours, aspect)
            axes.set(xticks=[], yticks=[])
            axes.set_title(name, fontsize=9)
        axes_of_case[0].set_ylabel(f"{heading}\n{case}", fontsize=8)
    patches = [Patch(color=colour, label=name) for name, colour in colours.values()]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(4, len(patches)), fontsize=8)
    return figure


def _read_channels(files: list[Path], labels: DatasetLabels) -> tuple[np.ndarray, Any, tuple[slice, slice]]:
    if not files[0].is_file():
        raise InputError(f"{files[0]}: no such file.")
    # Images of several channels in one file (RGB) have one file for all channels.
    read = [read_array(path, labels.content) for path in files if path.is_file()]
    channels = np.concatenate([array for array, _ in read])
    if len(channels) < len(files):
        raise InputError([f"{path}: no such file." for path in files if not path.is_file()])
    return channels[: len(files)], read[0][1]["spacing"], _flips(read[0][1])


def _flips(properties: Mapping[str, Any]) -> tuple[slice, slice]:
    """Turns a slice so that anterior is up and the patient's right is left, where the header says how it lies."""
    geometry = properties.get("sitk_stuff")
    if geometry is None or len(geometry["direction"]) != 9:
        return slice(None), slice(None)
    direction = np.reshape(geometry["direction"], (3, 3))
    backwards = slice(None, None, -1)
    return (backwards if direction[1, 1] < 0 else slice(None)), (backwards if direction[0, 0] < 0 else slice(None))


def _slice_to_show(reference: np.ndarray, prediction: np.ndarray) -> int:
    label_map = reference if reference.any() else prediction
    return int(np.count_nonzero(label_map, axis=(1, 2)).argmax()) if label_map.any() else len(label_map) // 2


def _colours(labels: DatasetLabels) -> dict[int, tuple[str, str]]:
    """Label value -> name and colour."""
    values = sorted(labels.values - {0})
    if not labels.is_brats:
        plain = {region.labels[0]: region.name for region in labels.regions if len(region.labels) == 1}
        return {
            value: (plain.get(value, f"label {value}"), OTHER_COLOURS[index % len(OTHER_COLOURS)])
            for index, value in enumerate(values)
        }
    whole, core, enhancing = (set(region.labels) for region in brats_regions(labels).values())
    parts = {"enhancing tumor": enhancing, "edema": whole - core, "necrotic and non-enhancing": core - enhancing}
    of_value = {value: (name, BRATS_COLOURS[name]) for name, part in parts.items() for value in part}
    return {value: of_value.get(value, (f"label {value}", "dodgerblue")) for value in values}


def _paint(axes: Any, label_map: np.ndarray, colours: Mapping[int, tuple[str, str]], aspect: float) -> None:
    painted = np.zeros(label_map.shape, dtype=np.uint8)
    for index, value in enumerate(colours, start=1):
        painted[label_map == value] = index
    colour_map = ListedColormap([(0, 0, 0, 0), *(to_rgba(colour, 0.6) for _, colour in colours.values())])
    axes.imshow(painted, cmap=colour_map, vmin=0, vmax=len(colours), interpolation="nearest", aspect=aspect)
