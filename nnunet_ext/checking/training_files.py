"""What is known about the training data of a data set or a model: fingerprint, training images, nnU-Net's reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.checking.unlike_training import TrainingData, read_fingerprint
from nnunet_ext.errors import InputError
from nnunet_ext.files.channel_files import sort_files
from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.images.case_check import check_case
from nnunet_ext.images.reader import read_image
from nnunet_ext.parallel import map_cases
from nnunet_ext.plans.modalities import channel_names

MOST_CASES = 20  # of training that other images are compared with, evenly spread
FINGERPRINT = "dataset_fingerprint.json"  # nnU-Net's, in its preprocessed folder and beside every model


@dataclass(frozen=True)
class TrainingFiles:
    """Where the training data of a data set or of a model is described.

    Args:
        dataset_json: Content of ``dataset.json``.
        fingerprint: nnU-Net's ``dataset_fingerprint.json``, whether it is there or not.
        images: The data set's ``imagesTr``, whether it is there or not; None where nobody knows.
        reader: Name of the reader in the plans; None where none are known.
    """

    dataset_json: Mapping[str, Any]
    fingerprint: Path
    images: Path | None
    reader: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of the channels, in order."""
        return channel_names(self.dataset_json)


def of_dataset(raw: Path, preprocessed: Path) -> TrainingFiles:
    """Those of a data set.

    Args:
        raw: Its folder in nnUNet_raw.
        preprocessed: Its folder in nnUNet_preprocessed, whether it is there or not.

    Raises:
        InputError: It has no usable ``dataset.json``.
    """
    dataset_json = read_dataset_json(raw)
    return TrainingFiles(dataset_json, preprocessed / FINGERPRINT, raw / "imagesTr")


def of_model(folder: Path, raw: Path | None) -> TrainingFiles:
    """Those of a trained model.

    Args:
        folder: ``TRAINER__PLANS__CONFIGURATION``, which has nnU-Net's copies of the descriptions.
        raw: nnUNet_raw, where the training images may be; None where it is not set.

    Raises:
        InputError: It is none.
    """
    dataset_json = read_dataset_json(folder)
    plans = read_json_object(folder / "plans.json")
    images = None if raw is None else raw / Path(str(plans.get("dataset_name"))).name / "imagesTr"
    return TrainingFiles(dataset_json, folder / FINGERPRINT, images, plans.get("image_reader_writer"))


def reader_of(files: TrainingFiles, image: Path) -> str | None:
    """Name of the reader that nnU-Net takes: that of the plans, else the first that can read a training image.

    Args:
        files: What is known.
        image: An image to try where there are no training images.
    """
    if files.reader is not None:
        return files.reader
    cases = _training_cases(files)
    first = next(iter(cases.values()), {0: image})
    try:
        return read_image(next(iter(first.values())), files.dataset_json).reader.__name__
    except InputError:
        return None  # the file itself is reported


def read_training_data(
    files: TrainingFiles, shapes: Mapping[str, np.ndarray] | None, num_processes: int | None
) -> TrainingData:
    """What images are compared with.

    Args:
        files: What is known.
        shapes: Shapes of the training images where these are what is checked; None reads some of them.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Raises:
        InputError: The fingerprint is no fingerprint.
    """
    spacings = ranges = None
    if files.fingerprint.is_file():
        try:
            spacings, ranges = read_fingerprint(read_json_object(files.fingerprint))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{files.fingerprint}: not a fingerprint of nnU-Net ({error}).") from None
    if shapes is None:
        cases = {case: own for case, own in _training_cases(files).items() if len(own) == len(files.names)}
        some = list(cases)[:: max(1, -(-len(cases) // MOST_CASES))]
        work = [(case, cases[case], files.dataset_json, files.names) for case in some]
        looked_at = map_cases(_shapes, work, num_processes, "Training images") if work else []
        shapes = {case: found for case, found in zip(some, looked_at, strict=True) if found is not None}
    return TrainingData(files.names, spacings, ranges, shapes)


def _shapes(case: str, files: Mapping[int, Path], dataset_json: Mapping[str, Any], names: list[str]) -> Any:
    return complete_shapes(check_case(case, files, dataset_json, names=names).shapes, len(names))


def complete_shapes(shapes: Mapping[int, np.ndarray], num_channels: int) -> np.ndarray | None:
    """Shapes of all channels ``(C, Q)``; None where one is missing."""
    if set(shapes) != set(range(num_channels)):
        return None
    return np.stack([shapes[channel] for channel in range(num_channels)])


def _training_cases(files: TrainingFiles) -> dict[str, dict[int, Path]]:
    if files.images is None or not files.images.is_dir():
        return {}
    return sort_files(files.images, files.names, files.dataset_json["file_ending"])[0]
