"""``nnunet_ext convert brats``: BraTS of any year to nnU-Net's raw format with its three regions.

Voxels and headers are copied byte by byte; only labels with 4 as enhancing tumour are written anew, with the header of
their source.
"""

import gzip
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel

from nnunet_ext.datasets.brats_files import CHANNELS, BratsCase, find_brats_cases
from nnunet_ext.datasets.brats_images import METAIMAGE, read_brats_image
from nnunet_ext.datasets.brats_labels import (
    RESECTION_CAVITY,
    LabelScheme,
    label_values,
    recognise_scheme,
    write_mapped,
)
from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_path, check_no_link, write_text_atomically
from nnunet_ext.images.grid import GRID_TOLERANCE, corner_distance
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.missing_modalities.constant_image import write_constant
from nnunet_ext.missing_modalities.presence import write_presence
from nnunet_ext.parallel import map_cases

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Args:
        folder: The data set's folder.
        scheme: How labels were recognised; None without labels.
        num_cases: Number of cases.
        num_already_there: Those of them whose images an earlier run had written.
        warnings: What the user should know before training.
    """

    folder: Path
    scheme: LabelScheme | None
    num_cases: int
    num_already_there: int
    warnings: tuple[str, ...] = ()


def convert_brats(
    source: Path,
    raw: Path,
    dataset_id: int,
    name: str = "BraTS",
    enhancing: int | None = None,
    num_processes: int | None = None,
    allow_missing: bool = False,
) -> Conversion:
    """Convert a folder of BraTS cases; cases without segmentations go to ``imagesTs``.

    All checks come first, and nothing is written where one fails. Files appear complete or not at all, and
    ``dataset.json`` last. Run again after an interruption, images are kept that have the size and the modification time
    of their source (compressed ones the uncompressed size); labels are always written anew.

    Args:
        source: Folder of cases, in any layout that :func:`find_brats_cases` knows.
        raw: ``nnUNet_raw``.
        dataset_id: Number of the data set, 1 to 999.
        name: Name of the data set after ``DatasetXXX_``: letters, digits, ``_`` and ``-``.
        enhancing: Label of the enhancing tumour in the source, 3 or 4; None recognises it.
        num_processes: Parallel processes; None takes one a processor, at most 8.
        allow_missing: Whether cases may lack modalities. A missing one becomes an image of zeros, and
            ``modalities.json`` beside the images says what each case had, as with ``nnunet_ext complete``.

    Raises:
        InputError: Anything wrong with the source, or a target folder with other contents; all problems listed.
    """
    if not 1 <= dataset_id <= 999:
        raise InputError(f"The data set's number must be 1 to 999, not {dataset_id}.")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"--name '{name}': must consist of letters, digits, '_' and '-', as it names a folder.")
    folder = raw / f"Dataset{dataset_id:03d}_{name}"
    others = [path.name for path in raw.glob(f"Dataset{dataset_id:03d}_*") if path != folder]
    if others:
        raise InputError(f"{raw}: number {dataset_id} is taken by {', '.join(sorted(others))}.")
    cases = find_brats_cases(source, allow_missing)
    labelled = cases[0].segmentation is not None
    found = map_cases(check_case, [(case,) for case in cases], num_processes, "Checking")
    scheme, warnings = None, []
    if labelled:
        namings = {case.naming for case in cases}
        if len(namings) > 1:
            words = {"2012": "2012 to 2015", "legacy": "2017 to 2021", "2023": "2023 and later"}
            years = " and as in ".join(words[naming] for naming in sorted(namings))
            raise InputError(f"{source}: holds cases named as in {years}. Convert them separately.")
        values = set().union(*found)
        scheme = recognise_scheme(values, namings.pop(), [case.name for case in cases], enhancing)
        if scheme.enhancing not in values:
            warnings.append(f"no case has enhancing tumour (label {scheme.enhancing}); a model cannot learn it.")
    images, labels = folder / ("imagesTr" if labelled else "imagesTs"), folder / "labelsTr"
    _check_target(folder, images, labels=labels if labelled else None, cases=cases, scheme=scheme)

    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    arguments = [(case, images, labels, scheme) for case in cases]
    written = map_cases(_write_case, arguments, num_processes, "Writing", stop_at_first=True)
    if allow_missing:
        write_presence(images, CHANNELS, {case.name: case.present for case in cases})
        if incomplete := [case for case in cases if len(case.present) < len(CHANNELS)]:
            warnings.append(f"{len(incomplete)} of {len(cases)} cases lack a modality. Train with modality_dropout.")
    if labelled or not (folder / "dataset.json").exists():
        content = dataset_json(scheme, len(cases) if labelled else 0)
        write_text_atomically(folder / "dataset.json", json.dumps(content, indent=4) + "\n")
    return Conversion(
        folder, scheme, num_cases=len(cases), num_already_there=written.count(False), warnings=tuple(warnings)
    )


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
    for path in (*case.images, *([case.segmentation] if case.segmentation else [])):
        try:
            image = read_brats_image(path)
            if path == case.segmentation:
                values = label_values(path)
        except InputError as error:
            problems += error.problems
            continue
        first = first or image
        if image.shape != first.shape:
            problems.append(f"{path}: shape {image.shape}, but {case.images[0].name} has {first.shape}.")
        else:
            distance = corner_distance(image.affine, first.affine, image.shape)
            if distance > GRID_TOLERANCE * min(first.header.get_zooms()):
                problems.append(f"{path}: other affine than {case.images[0].name}, corners {distance:.3g} mm apart.")
    if problems:
        raise InputError(problems)
    return values


def _check_target(
    folder: Path, images: Path, labels: Path | None, cases: list[BratsCase], scheme: LabelScheme | None
) -> None:
    expected = {images: {f"{case.name}_{index:04d}{FILE_ENDING}" for case in cases for index in range(len(CHANNELS))}}
    if labels is not None:
        expected[labels] = {f"{case.name}{FILE_ENDING}" for case in cases}
    for place, names in expected.items():
        check_no_link(folder, Path(place.name))
        there = {path.name for path in place.glob(f"*{FILE_ENDING}") if path.name[0] != "."}
        if others := sorted(there - names):
            raise InputError(
                f"{place}: holds files that are not in the source, for example {others[0]}. Remove them first."
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
    targets = [images / f"{case.name}_{index:04d}{FILE_ENDING}" for index in range(len(CHANNELS))]
    for path, target in zip(case.channels, targets, strict=True):
        if path is not None and not _up_to_date(path, target):
            _copy(path, target)
            wrote = True
    like = next(target for path, target in zip(case.channels, targets, strict=True) if path is not None)
    for path, target in zip(case.channels, targets, strict=True):
        if path is None:
            with atomic_path(target) as temporary:
                write_constant(like, temporary, 0.0)  # z-score, which BraTS' channels have, leaves it 0
    if case.segmentation is not None and scheme is not None:
        target = labels / f"{case.name}{FILE_ENDING}"
        # always anew: they are small, and an earlier run may have been told another meaning
        if scheme.enhancing == 3:
            _copy(case.segmentation, target)
        else:
            write_mapped(case.segmentation, target, scheme.to_consecutive)
    return wrote


def _up_to_date(source: Path, target: Path) -> bool:
    """Whether a target has the size and the modification time that :func:`_copy` gives it, as rsync compares them.

    The time alone would take a truncated target for complete, and miss a source that an older file has replaced.
    """
    if not target.is_file() or source.suffix == METAIMAGE:
        return False
    there, wanted = target.stat(), source.stat()
    same_time = abs(there.st_mtime - wanted.st_mtime) < 0.001  # network file systems round it
    size = there.st_size if source.suffix == ".gz" else _uncompressed_size(target)
    return same_time and size == wanted.st_size


def _uncompressed_size(path: Path) -> int:
    """Size that a gzip file says it has uncompressed, in its last four bytes; -1 where it is too short for any."""
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) < 18:  # header and trailer alone
            return -1
        stream.seek(-4, os.SEEK_END)
        return int.from_bytes(stream.read(4), "little")


def _copy(source: Path, target: Path) -> None:
    """Copy an image byte by byte, compressed where it is not yet, with its modification time; MetaImages as NIfTI."""
    with atomic_path(target) as temporary:
        if source.suffix == METAIMAGE:
            nibabel.save(read_brats_image(source), temporary)
        elif source.suffix == ".gz":
            shutil.copyfile(source, temporary)
        else:
            with source.open("rb") as uncompressed, gzip.open(temporary, "wb", compresslevel=6) as compressed:
                shutil.copyfileobj(uncompressed, compressed)
        time = source.stat().st_mtime_ns
        os.utime(temporary, ns=(time, time))
