"""Folders of predictions with probabilities, as nnU-Net leaves them, that the tests of uncertainty write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from label_cases import write_dataset_json, write_image

THREE_CLASSES = {
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "core": 1, "rim": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def write_prediction(folder: Path, case: str, probabilities: Any, order: list[int] | None = None, **image: Any) -> Path:
    """Write probabilities and the label image that nnU-Net makes of them.

    Args:
        folder: Folder of predictions.
        case: Name of the case.
        probabilities: ``(C, Z, Y, X)``.
        order: ``regions_class_order``; None: the channels are classes.
        image: Spacing and origin of the label image.

    Returns:
        The ``.npz`` file.
    """
    probabilities = np.asarray(probabilities, np.float32)
    labels = probabilities.argmax(0).astype(np.uint8)
    if order is not None:
        labels[:] = 0
        for channel, value in zip(probabilities, order, strict=True):
            labels[channel > 0.5] = value
    write_image(folder / f"{case}.nii.gz", labels, **image)
    np.savez_compressed(folder / f"{case}.npz", probabilities=probabilities)
    (folder / f"{case}.pkl").write_bytes(b"properties")
    return folder / f"{case}.npz"


def write_predictions(folder: Path, content: Mapping[str, Any], cases: Mapping[str, Any], **image: Any) -> Path:
    """Write several cases and the ``dataset.json`` of their data set; returns the folder."""
    for case, probabilities in cases.items():
        write_prediction(folder, case, probabilities, content.get("regions_class_order"), **image)
    write_dataset_json(folder, content)
    return folder


def two_classes(foreground: Any) -> np.ndarray:
    """Probabilities of background and one class, ``(2, Z, Y, X)``, from those of the class."""
    foreground = np.asarray(foreground, np.float32)
    return np.stack([1 - foreground, foreground])
