"""A folder of images in nnU-Net's naming, ``CASE_0000.nii.gz``: which case has which channels."""

import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.errors import InputError

# what people and programs leave beside images; anything else is an image that a typing error would lose
BESIDE_IMAGES = (".json", ".csv", ".txt", ".md")


def channel_files(folder: Path, names: Sequence[str], file_ending: str) -> dict[str, dict[int, Path]]:
    """Files of every case: case -> channel index -> file.

    Args:
        folder: Folder of images.
        names: Names of the channels, in order.
        file_ending: Ending of image files, for example ``".nii.gz"``.

    Raises:
        InputError: The folder has no image, or a file that belongs to no channel.
    """
    cases, problems = sort_files(folder, names, file_ending)
    if problems:
        raise InputError(problems)
    if not cases:
        raise InputError(f"{folder}: no files named CASE_XXXX{file_ending}.")
    return cases


def sort_files(folder: Path, names: Sequence[str], file_ending: str) -> tuple[dict[str, dict[int, Path]], list[str]]:
    """Files of every case, and what is wrong with the names of all others.

    Args:
        folder: Folder of images.
        names: Names of the channels, in order.
        file_ending: Ending of image files, for example ``".nii.gz"``.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(file_ending)}", re.DOTALL)
    cases: dict[str, dict[int, Path]] = {}
    problems = []
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or path.suffix in BESIDE_IMAGES:
            continue
        match = pattern.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: not named CASE_XXXX{file_ending}, XXXX the channel's number.")
        elif int(match[2]) >= len(names):
            listed = ", ".join(f"{index:04d} {name}" for index, name in enumerate(names))
            problems.append(f"{path}: the data set has no channel {match[2]}; it has {listed}.")
        else:
            cases.setdefault(match[1], {})[int(match[2])] = path
    return cases, problems


def labelled_cases(images: Path, file_ending: str) -> list[str]:
    """Cases with labels beside a folder of images, in ``labelsTr`` for ``imagesTr``, in ``labelsTs`` for ``imagesTs``.

    Args:
        images: Folder of images; one of another name has no such sibling.
        file_ending: Ending of image files, for example ``".nii.gz"``.
    """
    if not images.name.startswith("images"):
        return []
    labels = images.with_name(images.name.replace("images", "labels", 1))
    return sorted(path.name.removesuffix(file_ending) for path in labels.glob(f"*{file_ending}") if path.name[0] != ".")
