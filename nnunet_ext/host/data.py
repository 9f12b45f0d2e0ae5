"""nnU-Net's data sets: names, files, preprocessed cases, folds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NUM_FOLDS = 5  # nnUNetTrainer.do_split
SPLIT_SEED = 12345  # nnUNetTrainer.do_split


def image_readers(dataset_json: Mapping[str, Any], example: Path | None = None) -> list[type]:
    """Classes that read a data set's images: the one that nnU-Net takes, then the others for this file ending.

    Args:
        dataset_json: Content of ``dataset.json``.
        example: An image that the class must be able to read; None takes the first for the ending.
    """
    from nnunetv2.imageio.reader_writer_registry import LIST_OF_IO_CLASSES, determine_reader_writer_from_dataset_json

    file = None if example is None else str(example)
    first = determine_reader_writer_from_dataset_json(dict(dataset_json), file, verbose=False)
    others = [reader for reader in LIST_OF_IO_CLASSES if dataset_json["file_ending"] in reader.supported_file_endings]
    return list(dict.fromkeys([first, *others]))


def normalization_of(channel: str) -> str:
    """Name of the normalization that nnU-Net plans for a channel.

    Args:
        channel: Its name in ``dataset.json``.
    """
    from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

    return get_normalization_scheme(channel).__name__


def preprocessed_cases(folder: Path) -> list[str]:
    """Names of the cases whose preprocessed data is in a folder, sorted."""
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    return sorted(infer_dataset_class(str(folder)).get_identifiers(str(folder)))


def crossvalidation_split(cases: Sequence[str]) -> list[dict[str, list[str]]]:
    """The folds that nnU-Net's trainers would draw: ``"train"`` and ``"val"`` of each.

    Args:
        cases: Names of all cases, sorted.
    """
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    folds = generate_crossval_split(list(cases), seed=SPLIT_SEED, n_splits=NUM_FOLDS)
    return [{part: [str(case) for case in fold[part]] for part in ("train", "val")} for fold in folds]
