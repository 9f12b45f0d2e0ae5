"""Finding the files of BraTS cases, whatever year's folder layout and spelling they have."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.errors import InputError

Naming = Literal["2012", "legacy", "2023"]

CHANNELS = ("T1", "T1ce", "T2", "FLAIR")

# Last word of a file name -> what it is, and the naming it belongs to. "2012" is BraTS 2012 to 2015
# (BRATS_HG0001_T1C.mha, VSD.Brain.XX.O.MR_T1c.684.mha), "legacy" is 2017 to 2021 (Brats18_X_t1ce.nii.gz), "2023" is
# 2023 and later (BraTS-GLI-X-t1c.nii.gz). Segmentations are spelt alike in the two last; "Segm" is what case 355 of
# BraTS 2020 has (W39_1998.09.19_Segm.nii), "truth" is 2012 and "OT" 2013.
_LEGACY = {"t1": "T1", "t1ce": "T1ce", "t1gd": "T1ce", "t2": "T2", "flair": "FLAIR"}
_NEW = {"t1n": "T1", "t1c": "T1ce", "t2w": "T2", "t2f": "FLAIR"}
_SEGMENTATION = ("seg", "segm", "truth", "ot")
_ENDING = r"\.(nii|nii\.gz|mha)"
_FILE_NAME = re.compile(rf"(?P<case>.+)[_-](?P<word>[A-Za-z0-9]+){_ENDING}")
# of 2013 to 2015: each image in a folder of its name, and nothing in the name that says which case it is of
_VSD_NAME = re.compile(rf"VSD\.Brain.*?\.(MR_)?(?P<word>[A-Za-z0-9]+)(\.\d+)?{_ENDING}")
_GRADES = ("HG", "LG", "HGG", "LGG")


@dataclass(frozen=True)
class BratsCase:
    """Files of one case.

    Args:
        name: Case identifier, for example ``"BraTS20_Training_001"``.
        channels: Files in the order of ``CHANNELS``; None for a modality that the case lacks.
        segmentation: Label image, or None.
        naming: Which years' spelling the channels have.
    """

    name: str
    channels: tuple[Path | None, ...]
    segmentation: Path | None
    naming: Naming

    @property
    def images(self) -> list[Path]:
        """Files of the modalities that the case has; at least one."""
        return [path for path in self.channels if path is not None]

    @property
    def present(self) -> list[str]:
        """Names of the modalities that the case has."""
        return [name for name, path in zip(CHANNELS, self.channels, strict=True) if path is not None]


def find_brats_cases(source: Path, allow_missing: bool = False) -> list[BratsCase]:
    """Cases in a folder and all folders below it, in alphabetical order; links to files and folders are followed.

    A case is made of the images with one stem in one folder. A segmentation of another stem belongs to the only case
    of its folder. Files with other names are not touched.

    Args:
        source: The folder.
        allow_missing: Whether cases may lack modalities.

    Raises:
        InputError: A link that leads nowhere or a folder that cannot be read; no case found, or cases with missing
            modalities, with two files for one modality, of one name in two folders, or with a segmentation for only a
            part of the cases; all are listed.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder.")
    channels: dict[tuple[Path, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    segmentations: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in _files_below(source):
        named = _named(path)
        if named is None:
            continue
        key, word = named
        if word in _SEGMENTATION:
            segmentations[key].append(path)
        elif word in _LEGACY or word in _NEW:
            channels[key][word].append(path)
    if not channels:
        raise InputError(f"{source}: no files named as BraTS images, like CASE_t1ce.nii.gz or CASE-t1c.nii.gz.")
    _attach_foreign_stems(channels.keys(), segmentations)
    problems = [
        f"{path}: a segmentation without images of the case '{key[1]}'."
        for key, paths in sorted(segmentations.items())
        if key not in channels
        for path in paths
    ]
    cases = []
    for key, files in sorted(channels.items(), key=lambda item: (item[0][1], item[0][0])):
        case, found = _case(key, files, segmentations.get(key, []), allow_missing)
        problems += found
        if case is not None:
            cases.append(case)
    problems += _duplicates(channels)
    labelled = [case for case in cases if case.segmentation]
    if labelled and len(labelled) < len(cases):
        problems += [
            f"{case.images[0].parent}: no segmentation for case '{case.name}', while other cases have one. "
            "Convert training and validation folders with one command each."
            for case in cases
            if not case.segmentation
        ]
    if problems:
        raise InputError(problems)
    return cases


def _files_below(source: Path) -> list[Path]:
    """All files below a folder in alphabetical order, through links too; a link back to a folder above is not followed.

    Raises:
        InputError: A link that leads nowhere, or a folder that cannot be read: cases would be missing.
    """
    files, problems = [], []

    def visit(folder: Path, above: frozenset[Path]) -> None:
        real = folder.resolve()
        if real in above:
            return
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            problems.append(f"{folder}: cannot be read ({error.strerror}).")
            return
        for entry in entries:
            if entry.is_dir():
                visit(entry, above | {real})
            elif entry.is_file():
                files.append(entry)
            elif entry.is_symlink():
                problems.append(f"{entry}: a link to {entry.readlink()}, which does not exist.")

    visit(source, frozenset())
    if problems:
        raise InputError(problems)
    return sorted(files)


def _named(path: Path) -> tuple[tuple[Path, str], str] | None:
    """Folder and name of the case that a file belongs to, and the word that says what it is; None for other files."""
    if match := _VSD_NAME.fullmatch(path.name):
        folder = path.parent.parent if path.parent.name.startswith("VSD.") else path.parent
        # cases are numbered from 1 in each grade
        name = f"{folder.parent.name}_{folder.name}" if folder.parent.name in _GRADES else folder.name
    elif match := _FILE_NAME.fullmatch(path.name):
        # Some copies of BraTS 2018 and 2019 hold each image in a folder of its own name: x_t1.nii/x_t1.nii
        folder = path.parent.parent if path.parent.name.endswith(".nii") else path.parent
        name = match["case"]
    else:
        return None
    return (folder, name), match["word"].lower()


def _case(
    key: tuple[Path, str], files: dict[str, list[Path]], segmentations: list[Path], allow_missing: bool
) -> tuple[BratsCase | None, list[str]]:
    folder, name = key
    of_channel: dict[str, list[Path]] = defaultdict(list)
    for word, paths in files.items():
        of_channel[_LEGACY.get(word) or _NEW[word]] += paths
    twice = {**of_channel, "segmentation": segmentations}
    problems = [
        f"{folder}: case '{name}' has several files for {what}: {', '.join(path.name for path in paths)}."
        for what, paths in twice.items()
        if len(paths) > 1
    ]
    missing = [channel for channel in CHANNELS if channel not in of_channel]
    if missing and not allow_missing:
        problems.append(
            f"{folder}: case '{name}' has no {', '.join(missing)} image. (--allow-missing takes such cases.)"
        )
    legacy, new = ([word for word in files if word in words] for words in (_LEGACY, _NEW))
    naming: Naming = "2023" if new else "legacy"
    if legacy and new == ["t1c"]:
        naming = "2012"  # spelt T1c or T1C beside T1, T2 and Flair
    elif legacy and new:
        problems.append(f"{folder}: case '{name}' mixes names of before 2023 ({legacy[0]}) and of 2023 ({new[0]}).")
    if problems:
        return None, problems
    images = tuple(of_channel[channel][0] if channel in of_channel else None for channel in CHANNELS)
    return BratsCase(name, images, segmentations[0] if segmentations else None, naming), []


def _attach_foreign_stems(cases: Iterable[tuple[Path, str]], segmentations: dict[tuple[Path, str], list[Path]]) -> None:
    """Give a segmentation whose stem is no case's to the only case of its folder."""
    in_folder: dict[Path, list[tuple[Path, str]]] = defaultdict(list)
    for key in cases:
        in_folder[key[0]].append(key)
    for key in list(segmentations):
        owners = in_folder.get(key[0], [])
        if key not in owners and len(owners) == 1:
            segmentations[owners[0]] += segmentations.pop(key)


def _duplicates(keys: Iterable[tuple[Path, str]]) -> list[str]:
    folders: dict[str, list[str]] = defaultdict(list)
    for folder, name in keys:
        folders[name].append(str(folder))
    return [
        f"Case '{name}' is in several folders: {', '.join(sorted(places))}."
        for name, places in sorted(folders.items())
        if len(places) > 1
    ]
