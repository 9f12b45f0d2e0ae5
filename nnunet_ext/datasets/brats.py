"""``nnunet_ext convert brats``: BraTS of any year to nnU-Net's raw format with its three regions.

Voxels and headers are copied byte by byte; only labels with 4 as enhancing tumour are written anew, with the header of
their source.
"""

import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from nnunet_ext.datasets.brats_files import CHANNELS, BratsCase, find_brats_cases
from nnunet_ext.datasets.brats_labels import (
    RESECTION_CAVITY,
    LabelScheme,
    label_values,
    recognise_scheme,
    write_mapped,
)
from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_path, write_text_atomically
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.labels.label_image import GRID_TOLERANCE, check_complete, corner_distance
from nnunet_ext.parallel import map_cases

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Conversion:
    """What was written: the data set's folder, how labels were recognised (None without labels), numbers of cases."""

    folder: Path
    scheme: LabelScheme | None
    num_cases: int
    num_already_there: int


def convert_brats(
    source: Path,
    raw: Path,
    dataset_id: int,
    name: str = "BraTS",
    enhancing: int | None = None,
    num_processes: int | None = None,
) -> Conversion:
    """Convert a folder of BraTS cases; cases without segmentations go to ``imagesTs``.

    All checks come first, and nothing is written where one fails. Files appear complete or not at all, and
    ``dataset.json`` last; run again after an interruption, files newer than their source are kept.

    Args:
        source: Folder of cases, in any layout that :func:`find_brats_cases` knows.
        raw: ``nnUNet_raw``.
        dataset_id: Number of the data set, 1 to 999.
        name: Name of the data set after ``DatasetXXX_``.
        enhancing: Label of the enhancing tumour in the source, 3 or 4; None recognises it.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Raises:
        InputError: Anything wrong with the source, or a target folder with other contents; all problems listed.
    """
    if not 1 <= dataset_id <= 999:
        raise InputError(f"The data set's number must be 1 to 999, not {dataset_id}.")
    folder = raw / f"Dataset{dataset_id:03d}_{name}"
    others = [path.name for path in raw.glob(f"Dataset{dataset_id:03d}_*") if path != folder]
    if others:
        raise InputError(f"{raw}: number {dataset_id} is taken by {', '.join(sorted(others))}.")
    cases = find_brats_cases(source)
    labelled = cases[0].segmentation is not None
    found = map_cases(check_case, [(case,) for case in cases], num_processes, "Checking")
    scheme = None
    if labelled:
        namings = {case.naming for case in cases}
        if len(namings) > 1:
            raise InputError(f"{source}: holds cases named as before 2023 and as in 2023. Convert them separately.")
        scheme = recognise_scheme(set().union(*found), namings.pop(), [case.name for case in cases], enhancing)
    images, labels = folder / ("imagesTr" if labelled else "imagesTs"), folder / "labelsTr"
    _check_target(folder, images, cases, scheme)

    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    written = map_cases(_write_case, [(case, images, labels, scheme) for case in cases], num_processes, "Writing")
    if labelled or not (folder / "dataset.json").exists():
        content = dataset_json(scheme, len(cases) if labelled else 0)
        write_text_atomically(folder / "dataset.json", json.dumps(content, indent=4) + "\n")
    return Conversion(folder, scheme, len(cases), written.count(False))


def dataset_json(scheme: LabelScheme | None, num_training: int) -> dict[str, Any]:
    """Content of ``dataset.json``: four channels, three regions, and the resection cavity where there is one.

    ``regions_class_order`` paints the whole tumour with 2, the core over it with 1, the enhancing tumour over that with
    3, which gives the values of BraTS 2023.
    """
    labels: dict[str, Any] = {
        "background": 0,
        "whole tumor": [1, 2, 3],
        "tumor core": [1, 3],
        "enhancing tumor": [3],
    }
    order = [2, 1, 3]
    if scheme is not None and scheme.resection_cavity:
        labels[RESECTION_CAVITY] = [4]
        order.append(4)
    return {
        "channel_names": {str(index): channel for index, channel in enumerate(CHANNELS)},
        "labels": labels,
        "regions_class_order": order,
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
    }


def check_case(case: BratsCase) -> set[int]:
    """Check that a case's files are complete and lie on one grid.

    Returns:
        Label values that occur; empty without a segmentation.

    Raises:
        InputError: Unreadable or truncated files, or other shapes or affines than the first channel's (same tolerance
            as in the evaluation: corners within 1 % of the smallest spacing).
    """
    problems: list[str] = []
    first: nibabel.Nifti1Image | None = None
    values: set[int] = set()
    for path in (*case.channels, *([case.segmentation] if case.segmentation else [])):
        try:
            image = _checked_image(path)
            if path == case.segmentation:
                values = label_values(path)
        except InputError as error:
            problems += error.problems
            continue
        first = first or image
        if image.shape != first.shape:
            problems.append(f"{path}: shape {image.shape}, but {case.channels[0].name} has {first.shape}.")
        else:
            distance = corner_distance(image.affine, first.affine, image.shape)
            if distance > GRID_TOLERANCE * min(first.header.get_zooms()):
                problems.append(f"{path}: other affine than {case.channels[0].name}, corners {distance:.3g} mm apart.")
    if problems:
        raise InputError(problems)
    return values


def _checked_image(path: Path) -> nibabel.Nifti1Image:
    size = check_complete(path)
    try:
        image = nibabel.load(path)
        header = image.header
        expected = int(image.dataobj.offset) + int(np.prod(image.shape)) * header.get_data_dtype().itemsize
    except Exception as error:  # nibabel has several of its own, the operating system adds others
        raise InputError(f"{path}: cannot be read ({error}).") from None
    if len(image.shape) != 3:
        raise InputError(f"{path}: {len(image.shape)} dimensions {image.shape}, expected 3.")
    if size < expected:
        raise InputError(f"{path}: truncated, {size} bytes of {expected}.")
    return image


def _check_target(folder: Path, images: Path, cases: list[BratsCase], scheme: LabelScheme | None) -> None:
    expected = {f"{case.name}_{index:04d}{FILE_ENDING}" for case in cases for index in range(len(CHANNELS))}
    there = {path.name for path in images.glob(f"*{FILE_ENDING}") if path.name[0] != "."}
    if others := sorted(there - expected):
        raise InputError(
            f"{images}: holds files that are not in the source, for example {others[0]}. Remove them first."
        )
    existing = folder / "dataset.json"
    if existing.exists():
        current, wanted = read_dataset_labels(existing).content, dataset_json(scheme, len(cases))
        # Without labels nothing is known about them, neither now nor when only test cases were converted before.
        keys = ["channel_names"] if scheme is None or not current.get("numTraining") else ["channel_names", "labels"]
        if any(current.get(key) != wanted[key] for key in keys):
            raise InputError(f"{existing}: has other channels or labels than the source. Remove the data set first.")


def _write_case(case: BratsCase, images: Path, labels: Path, scheme: LabelScheme | None) -> bool:
    """Write the files of a case that are not there yet; whether there were any images to write."""
    wrote = False
    for index, path in enumerate(case.channels):
        target = images / f"{case.name}_{index:04d}{FILE_ENDING}"
        if not _up_to_date(path, target):
            _copy(path, target)
            wrote = True
    if case.segmentation is not None and scheme is not None:
        target = labels / f"{case.name}{FILE_ENDING}"
        # always anew: they are small, and an earlier run may have been told another meaning
        if scheme.enhancing == 3:
            _copy(case.segmentation, target)
        else:
            write_mapped(case.segmentation, target, scheme.to_consecutive)
    return wrote


def _up_to_date(source: Path, target: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def _copy(source: Path, target: Path) -> None:
    """Copy an image byte by byte, compressed where it is not yet."""
    with atomic_path(target) as temporary:
        if source.suffix == ".gz":
            shutil.copyfile(source, temporary)
        else:
            with source.open("rb") as uncompressed, gzip.open(temporary, "wb", compresslevel=6) as compressed:
                shutil.copyfileobj(uncompressed, compressed)
