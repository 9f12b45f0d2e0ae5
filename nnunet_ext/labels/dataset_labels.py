"""Regions or labels to score, as ``dataset.json`` declares them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import InputError


@dataclass(frozen=True)
class Region:
    """A label, or the union of several, that is scored as one mask.

    Args:
        name: Name in ``dataset.json``.
        labels: Label values; one for a plain label.
    """

    name: str
    labels: tuple[int, ...]

    def mask(self, label_map: np.ndarray) -> np.ndarray:
        """Boolean mask of the region in a label map of any shape."""
        if len(self.labels) == 1:
            return label_map == self.labels[0]
        return np.isin(label_map, self.labels)


@dataclass(frozen=True)
class DatasetLabels:
    """What a ``dataset.json`` says about labels.

    Args:
        regions: Regions or labels without the background, in the order of ``dataset.json``.
        ignore_label: Voxels of the reference with this label are not scored; None where there is none.
        file_ending: Ending of the image files, for example ``".nii.gz"``.
        content: The whole ``dataset.json``.
    """

    regions: tuple[Region, ...]
    ignore_label: int | None
    file_ending: str
    content: Mapping[str, Any]

    @property
    def values(self) -> set[int]:
        """All label values without the ignore label, the background included."""
        return {0}.union(*(region.labels for region in self.regions))

    @property
    def has_regions(self) -> bool:
        """Whether nnU-Net trains on regions (sigmoid) rather than labels (softmax)."""
        return any(len(region.labels) > 1 for region in self.regions)

    @property
    def is_brats(self) -> bool:
        """Whether this is a region data set with the three BraTS regions, in any common spelling of their names."""
        names = {_normalised(region.name) for region in self.regions}
        return self.has_regions and all(names & spellings for spellings in BRATS_REGION_SPELLINGS.values())


BRATS_REGION_SPELLINGS = {
    "whole tumor": {"wholetumor", "wholetumour", "whole", "wt"},
    "tumor core": {"tumorcore", "tumourcore", "core", "tc"},
    "enhancing tumor": {"enhancingtumor", "enhancingtumour", "enhancing", "et", "enhancingtumorcore"},
}


def brats_regions(labels: DatasetLabels) -> dict[str, Region]:
    """The three BraTS regions under their common names ``"whole tumor"``, ``"tumor core"``, ``"enhancing tumor"``.

    Raises:
        InputError: The data set does not have the three regions.
    """
    if not labels.is_brats:
        names = ", ".join(f"'{region.name}'" for region in labels.regions)
        raise InputError(f"dataset.json does not have the three BraTS regions; it has {names}.")
    by_name = {_normalised(region.name): region for region in labels.regions}
    return {
        common: next(by_name[spelling] for spelling in sorted(spellings) if spelling in by_name)
        for common, spellings in BRATS_REGION_SPELLINGS.items()
    }


def read_dataset_labels(path: Path) -> DatasetLabels:
    """Read the labels of a ``dataset.json``.

    Raises:
        InputError: The file is missing, is not JSON, or lacks ``labels`` or ``file_ending``.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise InputError(f"{path}: not a dataset.json of nnU-Net v2 ({error}).") from None
    return dataset_labels(content, path)


def dataset_labels(content: Mapping[str, Any], path: Path) -> DatasetLabels:
    """The labels that the content of a ``dataset.json`` declares.

    Args:
        content: Content of the file.
        path: Where it comes from, for messages.

    Raises:
        InputError: It lacks ``labels`` or ``file_ending``.
    """
    try:
        declared, file_ending = content["labels"], content["file_ending"]
        if not isinstance(declared, dict):
            raise TypeError('"labels" must map names to values')
        regions = [
            Region(name, tuple(int(value) for value in (values if isinstance(values, list) else [values])))
            for name, values in declared.items()
            if name != "ignore"
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a dataset.json of nnU-Net v2 ({error}).") from None
    foreground = tuple(region for region in regions if set(region.labels) != {0})
    return DatasetLabels(foreground, declared.get("ignore"), file_ending, content)


def find_dataset_json(folders: Sequence[Path]) -> Path:
    """The ``dataset.json`` of the first folder that has one, in the folder or up to two levels above.

    nnU-Net copies it into folders of predictions, keeps it beside ``labelsTr``, and two levels above
    ``fold_X/validation``.

    Raises:
        InputError: None of them has one.
    """
    for folder in folders:
        for candidate in (folder, *folder.resolve().parents[:2]):
            if (candidate / "dataset.json").is_file():
                return candidate / "dataset.json"
    searched = ", ".join(str(folder) for folder in folders)
    raise InputError(f"No dataset.json in or above {searched}. Name it with --dataset-json.")


def common_label_name(name: str) -> str:
    """Common name of a label or region: ``"ET"`` -> ``"enhancing tumor"``; another name loses case and separators."""
    plain = _normalised(name)
    return next((common for common, spellings in BRATS_REGION_SPELLINGS.items() if plain in spellings), plain)


def _normalised(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
