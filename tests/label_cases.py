"""Small label images and data sets that the tests of evaluation, conversion and post-processing write."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

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


def tumour(shift: int = 0, enhancing: bool = True) -> np.ndarray:
    """Nested boxes of labels 2 (oedema), 1 (necrosis) and 3 (enhancing), moved along x."""
    labels = np.zeros((10, 12, 14), dtype=np.uint8)
    labels[2:8, 2:9, 2 + shift : 9 + shift] = 2
    labels[3:7, 3:8, 3 + shift : 8 + shift] = 1
    if enhancing:
        labels[4:6, 4:7, 4 + shift : 7 + shift] = 3
    return labels


def write_image(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (), origin: tuple[float, ...] = ()) -> None:
    """Write an array ``(Z, Y, X)`` or ``(Y, X)``; spacing and origin in SimpleITK's order."""
    image = SimpleITK.GetImageFromArray(array)
    if spacing:
        image.SetSpacing(spacing)
    if origin:
        image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def write_folder(folder: Path, cases: Mapping[str, np.ndarray]) -> Path:
    """Write label maps as ``<case>.nii.gz`` and return the folder."""
    for case, labels in cases.items():
        write_image(folder / f"{case}.nii.gz", labels)
    return folder


def read_image(path: Path) -> np.ndarray:
    """Array ``(Z, Y, X)`` or ``(Y, X)`` of an image."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def write_dataset_json(folder: Path, content: Mapping[str, Any] = BRATS_DATASET) -> Path:
    """Write ``dataset.json`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"
