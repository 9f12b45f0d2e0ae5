"""Small generated data sets of label images."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

BRATS_LABELS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": [3]}
BRATS_DATASET = {
    "channel_names": {"0": "T1ce", "1": "FLAIR"},
    "labels": BRATS_LABELS,
    "regions_class_order": [2, 1, 3],
    "numTraining": 3,
    "file_ending": ".nii.gz",
}
PLAIN_DATASET = {
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "lesion": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def write_image(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (), origin: tuple[float, ...] = ()) -> None:
    """Write an array ``(Z, Y, X)`` or ``(Y, X)``; spacing and origin in SimpleITK's order."""
    image = sitk.GetImageFromArray(array)
    if spacing:
        image.SetSpacing(spacing)
    if origin:
        image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def tumour(shift: int = 0, enhancing: bool = True) -> np.ndarray:
    """Nested boxes of labels 2 (oedema), 1 (necrosis) and 3 (enhancing), moved along x."""
    labels = np.zeros((10, 12, 14), dtype=np.uint8)
    labels[2:8, 2:9, 2 + shift : 9 + shift] = 2
    labels[3:7, 3:8, 3 + shift : 8 + shift] = 1
    if enhancing:
        labels[4:6, 4:7, 4 + shift : 7 + shift] = 3
    return labels


WriteFolder = Callable[[str, Mapping[str, np.ndarray]], Path]


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    """Writes label maps as ``<tmp_path>/<folder>/<case>.nii.gz`` and returns the folder."""

    def write(folder: str, cases: Mapping[str, np.ndarray]) -> Path:
        for case, labels in cases.items():
            write_image(tmp_path / folder / f"{case}.nii.gz", labels)
        return tmp_path / folder

    return write


@pytest.fixture
def dataset_json(tmp_path: Path) -> Path:
    """A data set with the three BraTS regions."""
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(BRATS_DATASET))
    return path
