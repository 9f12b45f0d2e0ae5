"""What nnU-Net's planner reads of a dataset, without images: description, fingerprint, and one case without content."""

import json
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.testing import CHANNELS, LABELS

NAME = "Dataset999_Planned"


def write_planned_dataset(root: Path, monkeypatch, shape: Sequence[int], spacing: Sequence[float] = (1, 1, 1)) -> Path:
    """Write a dataset below ``root`` and point nnU-Net's variables there.

    Args:
        root: Empty folder.
        monkeypatch: Pytest's.
        shape: Voxels of every image.
        spacing: mm.

    Returns:
        The dataset's folder in nnUNet_preprocessed.
    """
    raw, preprocessed = root / "raw" / NAME, root / "preprocessed" / NAME
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed, root / "results"):
        folder.mkdir(parents=True)
    description = {
        "channel_names": {str(i): name for i, name in enumerate(CHANNELS)},
        "labels": LABELS,
        "numTraining": 500,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    fingerprint = {
        "spacings": [list(spacing)],
        "shapes_after_crop": [list(shape)],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 0.3,
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    (raw / "labelsTr" / "case.nii.gz").touch()
    for channel in range(len(CHANNELS)):
        (raw / "imagesTr" / f"case_{channel:04}.nii.gz").touch()
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    (preprocessed / "dataset.json").write_text(json.dumps(description))
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(root / name))
    return preprocessed
