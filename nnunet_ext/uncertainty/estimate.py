"""``nnunet_ext uncertainty``: maps and a table of cases from several predictions with probabilities."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ext import __version__
from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.evaluate import write_csv
from nnunet_ext.evaluation.uncertainty_folder import JOINT, SETTINGS, TABLE, UncertaintyFolder
from nnunet_ext.files.atomic import atomic_folder, check_free, check_writable, write_text_atomically
from nnunet_ext.images.map_image import write_map
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.labels.label_image import LabelImage
from nnunet_ext.parallel import map_cases
from nnunet_ext.uncertainty.case_table import FLAG_BELOW, case_row
from nnunet_ext.uncertainty.maps import KINDS, JointEntropies, Kind, as_percent, maps_of
from nnunet_ext.uncertainty.members import (
    Channels,
    SavedCase,
    channels_of,
    common_cases,
    read_member,
    read_segmentations,
)
from nnunet_ext.uncertainty.saved_probabilities import read_header, slabs

VOXELS_AT_ONCE = 2**20  # of every member; what is computed with them is in double precision


def estimate_uncertainty(
    folders: Sequence[Path],
    output: Path,
    *,
    percent: bool = False,
    flag_below: float = FLAG_BELOW,
    dataset_json: Path | None = None,
    num_processes: int | None = None,
) -> pd.DataFrame:
    """Write maps, ``cases.csv`` and ``uncertainty.json``, all or nothing.

    A case is read in pieces of all members together, so that the memory does not grow with their number but for their
    label maps.

    Args:
        folders: One a member: folder of predictions with probabilities, or of a trained model.
        output: Folder to write; must not exist, or be empty.
        percent: Maps as whole numbers of 0 to 100 instead of float32.
        flag_below: Expected Dice below which a region of a case is flagged, in [0, 1].
        dataset_json: The data set's ``dataset.json``; None looks for it in and above each folder.
        num_processes: Parallel processes, one case each; None takes one a processor, at most 8.

    Returns:
        Rows of ``cases.csv``.

    Raises:
        InputError: Anything that is wrong with the folders and files, all problems listed.
    """
    if not 0 <= flag_below <= 1:
        raise InputError(f"Cases are flagged below an expected Dice of 0 to 1, not {flag_below}.")
    check_free(output)
    members = [read_member(folder, dataset_json) for folder in folders]
    cases = common_cases(members)
    check_writable(output)
    labels = members[0].labels
    channels = channels_of(labels)
    names = [region.name for region in channels.regions.values()]
    maps = UncertaintyFolder(
        output,
        (*names, JOINT) if channels.exclusive and channels.number > 2 else tuple(names),
        largest=100 if percent else 1,
    )
    with atomic_folder(output) as new:
        arguments = [
            (case, [member.cases[case] for member in members], labels, replace(maps, folder=new), flag_below)
            for case in cases
        ]
        of_cases = map_cases(estimate_case, arguments, num_processes, "Estimating uncertainty")
        table = pd.DataFrame([row for rows in of_cases for row in rows])
        write_csv(table, new / TABLE)
        settings = {
            "members": [str(folder) for folder in folders],
            "regions": list(maps.regions),
            "largest": int(maps.largest),
            "flag_below": flag_below,
            "nnunet_ext": __version__,
        }
        write_text_atomically(new / SETTINGS, json.dumps(settings, indent=4) + "\n")
    return table


def estimate_case(
    case: str, files: Sequence[SavedCase], labels: DatasetLabels, maps: UncertaintyFolder, flag_below: float
) -> list[dict[str, Any]]:
    """Write the maps of a case.

    Args:
        case: Its name.
        files: One a member.
        labels: The data set's labels.
        maps: Where the maps go.
        flag_below: Expected Dice below which a region is flagged.

    Returns:
        Rows of ``cases.csv``, one a region.

    Raises:
        InputError: The files do not fit together, or cannot be read or written.
    """
    images = read_segmentations(files, labels)
    mean_label_map, confidences = _write_maps(case, files, labels=labels, maps=maps, image=images[0])
    return [
        case_row(
            case,
            region,
            [image.labels for image in images],
            mean_label_map=mean_label_map,
            confidence=confidences[channel],
            voxel_volume=math.prod(images[0].spacing),
            flag_below=flag_below,
        )
        for channel, region in channels_of(labels).regions.items()
    ]


def _write_maps(
    case: str, files: Sequence[SavedCase], labels: DatasetLabels, maps: UncertaintyFolder, image: LabelImage
) -> tuple[np.ndarray, dict[int, float]]:
    """Label map of the mean probabilities, and mean probability of each channel's region."""
    channels = channels_of(labels)
    shape = read_header(files[0].probabilities).shape[1:]
    step = max(1, VOXELS_AT_ONCE // math.prod(shape[1:]))
    members = [slabs(saved.probabilities, step) for saved in files]
    mean_labels = _MeanLabels(channels, labels, shape)
    joint = JointEntropies(shape, channels.number) if JOINT in maps.regions else None
    kinds = KINDS if len(files) > 1 else KINDS[:2]  # one member cannot disagree
    for channel in range(channels.number):
        region = channels.regions.get(channel)
        written = {kind: np.empty(shape, np.uint8 if maps.largest == 100 else np.float32) for kind in kinds if region}
        for where, pieces in _pieces(members, shape[0], step):
            mean_labels.add(channel, where, pieces)
            if joint:
                joint.add(where, pieces)
            if region:
                of_region = maps_of(pieces)
                for kind, values in written.items():
                    values[where] = _scaled(kind, getattr(of_region, kind), maps)
        if region:
            for kind, values in written.items():
                _write(maps.map_file(kind, region.name, case), values, image)
    if joint:
        for name, values in joint.maps()._asdict().items():
            if name in kinds:
                _write(maps.map_file(name, JOINT, case), _scaled(name, values, maps), image)
    return mean_labels.label_map.reshape(image.labels.shape), mean_labels.confidences()


class _MeanLabels:
    """Label map of the mean probabilities as ``nnUNetv2_ensemble`` makes it, from one channel after the other."""

    def __init__(self, channels: Channels, labels: DatasetLabels, shape: Sequence[int]):
        self.channels = channels
        self.label_map = np.zeros(shape, np.uint16 if max(labels.values) > 255 else np.uint8)
        # what a region's voxels become; later regions lie over earlier ones
        self.values = list(labels.content["regions_class_order"]) if not channels.exclusive else sorted(labels.values)
        self.largest = np.full(shape if channels.exclusive else (), -1, np.float32)
        self.sums = dict.fromkeys(channels.regions, 0.0)
        self.sizes = dict.fromkeys(channels.regions, 0)

    def add(self, channel: int, where: slice, members: Sequence[np.ndarray]) -> None:
        mean = members[0].copy()
        for probabilities in members[1:]:
            mean += probabilities
        mean /= len(members)
        if self.channels.exclusive:
            chosen = mean > self.largest[where]
            self.largest[where][chosen] = mean[chosen]
        else:
            chosen = mean > 0.5
            self.sums[channel] += float(mean[chosen].sum(dtype=np.float64))
            self.sizes[channel] += int(np.count_nonzero(chosen))
        self.label_map[where][chosen] = self.values[channel]

    def confidences(self) -> dict[int, float]:
        """Mean probability of each region over the voxels that it gets; NaN where there are none."""
        if not self.channels.exclusive:
            return {channel: self.sums[channel] / size if size else math.nan for channel, size in self.sizes.items()}
        masks = {channel: region.mask(self.label_map) for channel, region in self.channels.regions.items()}
        return {
            channel: float(self.largest[mask].mean(dtype=np.float64)) if mask.any() else math.nan
            for channel, mask in masks.items()
        }


def _pieces(
    members: Sequence[Iterator[np.ndarray]], num_slices: int, step: int
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Pieces of one channel of all members, each with where it is."""
    for start in range(0, num_slices, step):
        yield slice(start, start + step), [next(member) for member in members]


def _scaled(kind: Kind, values: np.ndarray, maps: UncertaintyFolder) -> np.ndarray:
    return as_percent(kind, values) if maps.largest == 100 else values


def _write(path: Path, values: np.ndarray, image: LabelImage) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_map(path, values, image.grid)
