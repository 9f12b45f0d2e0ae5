"""What nnU-Net leaves in a trained model's folder: settings, learning curves, validation predictions."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.files.checkpoint import CHECKPOINTS, FINAL, read_checkpoint
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.labels.dataset_labels import DatasetLabels, read_dataset_labels
from nnunet_ext.plans.settings import PLANS_KEY


@dataclass(frozen=True)
class Fold:
    """One fold of a model.

    Args:
        name: ``"0"`` to ``"4"``, or ``"all"``.
        curves: nnU-Net's log, name -> a value an epoch; empty without a checkpoint.
        finished: Whether training ran to its end.
        predictions: Case -> validation prediction.
        references: Case -> reference, for those that were found.
        num_parameters: Numbers of the network's weights, those for training alone included; None without a checkpoint.
        machine: What the training ran on: ``"device"``, and versions by the library's name, as far as they are known.
    """

    name: str
    curves: dict[str, list[float]]
    finished: bool
    predictions: dict[str, Path]
    references: dict[str, Path]
    num_parameters: int | None = None
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds_of_epochs(self) -> list[float]:
        """Time of each epoch with its validation, in seconds; empty where it was not logged."""
        times = zip(
            self.curves.get("epoch_start_timestamps", []), self.curves.get("epoch_end_timestamps", []), strict=False
        )
        return [end - start for start, end in times]

    @property
    def epoch_seconds(self) -> float | None:
        """Median time of an epoch with its validation, in seconds; None where it was not logged."""
        return median(self.seconds_of_epochs) if self.seconds_of_epochs else None


@dataclass(frozen=True)
class TrainedModel:
    """A folder ``<dataset>/<trainer>__<plans>__<configuration>``.

    Args:
        folder: The folder.
        dataset: Name of the data set.
        trainer: Name of the trainer.
        plans: Content of ``plans.json``.
        labels: The data set's labels.
        folds: Folds that there are, in order.
    """

    folder: Path
    dataset: str
    trainer: str
    plans: dict[str, Any]
    labels: DatasetLabels
    folds: tuple[Fold, ...]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def configuration(self) -> str:
        """Name of the configuration, for example ``"3d_fullres"``."""
        return self.name.split("__")[-1]

    @property
    def training(self) -> str:
        """What repeated runs share: data set, trainer, configuration, and everything in the plans but name and seed."""
        plans = {key: value for key, value in self.plans.items() if key != "plans_name"}
        if PLANS_KEY in plans:
            plans[PLANS_KEY] = {key: value for key, value in plans[PLANS_KEY].items() if key != "seed"}
        return json.dumps([self.dataset, self.trainer, self.configuration, plans], sort_keys=True)


def find_model_folders(paths: Sequence[Path]) -> list[Path]:
    """Model folders among and below the given ones (results folder, data set's folder, or model folders themselves).

    Raises:
        InputError: One of the paths holds no trained model.
    """
    found: list[Path] = []
    problems = []
    for path in paths:
        candidates = [path, *sorted(path.glob("*")), *sorted(path.glob("*/*"))]
        models = [folder for folder in candidates if (folder / "plans.json").is_file() and any(folder.glob("fold_*"))]
        if not models:
            problems.append(f"{path}: no trained model (a folder with plans.json and fold_X) here or two levels below.")
        found += [model.resolve() for model in models]
    if problems:
        raise InputError(problems)
    return list(dict.fromkeys(found))


def read_model(folder: Path, reference: Path | None = None) -> TrainedModel:
    """Read a model folder.

    Args:
        folder: Folder with ``plans.json``, ``dataset.json`` and ``fold_X``.
        reference: Folder of references; None takes the files that nnU-Net's own ``summary.json`` names, else those of
            the data set in nnU-Net's folders.

    Raises:
        InputError: A file is missing or cannot be read.
    """
    labels = read_dataset_labels(folder / "dataset.json")
    plans = read_json_object(folder / "plans.json")
    dataset = str(plans.get("dataset_name", folder.parent.name))
    fold_folders = sorted(path for path in folder.glob("fold_*") if path.is_dir())
    folds = tuple(_read_fold(path, labels.file_ending, dataset, reference) for path in fold_folders)
    return TrainedModel(folder, dataset, trainer=folder.name.split("__")[0], plans=plans, labels=labels, folds=folds)


def fold_checkpoint(folder: Path, fold: str | None, checkpoint: str) -> Path:
    """Checkpoint of a fold of a model.

    Args:
        folder: Folder of the trainer, plans and configuration.
        fold: Fold, or ``"all"``; None takes the first there is.
        checkpoint: Name of the checkpoint file.

    Raises:
        InputError: Not such a folder, or no such checkpoint.
    """
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} has no {name}; give the folder TRAINER__PLANS__CONFIGURATION of nnUNet_results."
            )
    found = sorted(folder.glob(f"fold_{'*' if fold is None else fold}/{checkpoint}"))
    if not found:
        raise InputError(f"{folder} has no {checkpoint} for fold {'any' if fold is None else fold}.")
    return found[0]


def nnunet_folder(variable: str, *parts: str) -> Path | None:
    """Folder below one of nnU-Net's three paths; None where the variable or the folder does not exist."""
    root = os.environ.get(variable)
    folder = Path(root, *parts) if root else None
    return folder if folder is not None and folder.is_dir() else None


def _read_fold(folder: Path, file_ending: str, dataset: str, reference: Path | None) -> Fold:
    checkpoint = next((folder / name for name in CHECKPOINTS if (folder / name).is_file()), None)
    predictions = {
        path.name.removesuffix(file_ending): path
        for path in sorted((folder / "validation").glob(f"*{file_ending}"))
        if path.name[0] != "."
    }
    summary = folder / "validation" / "summary.json"
    named = {}
    if summary.is_file():
        for entry in read_json_object(summary).get("metric_per_case", []):
            path = Path(entry["reference_file"])
            named[path.name.removesuffix(file_ending)] = path
    elsewhere = [
        nnunet_folder("nnUNet_raw", dataset, "labelsTr"),
        nnunet_folder("nnUNet_preprocessed", dataset, "gt_segmentations"),
    ]
    references = {}
    for case in predictions:
        in_folders = [place / f"{case}{file_ending}" for place in ([reference] if reference else elsewhere) if place]
        candidates = in_folders if reference else [*([named[case]] if case in named else []), *in_folders]
        found = next((path for path in candidates if path.is_file()), None)
        if found is not None:
            references[case] = found
    curves, num_parameters = _read_checkpoint(checkpoint) if checkpoint else ({}, None)
    return Fold(
        name=folder.name.removeprefix("fold_"),
        curves=curves,
        finished=checkpoint is not None and checkpoint.name == FINAL,
        predictions=predictions,
        references=references,
        num_parameters=num_parameters,
        machine=_read_machine(folder / "debug.json"),
    )


def _read_machine(debug: Path) -> dict[str, str]:
    """Device and versions from the file of nnU-Net's that lists all attributes of the trainer."""
    content = read_json_object(debug) if debug.is_file() else {}
    device = content.get("gpu_name") or content.get("device")
    versions = {name: content.get(f"{name}_version") for name in ("nnunet_ext", "nnunetv2", "torch", "cudnn")}
    return {name: str(value) for name, value in {"device": device, **versions}.items() if value not in (None, "None")}


def _read_checkpoint(checkpoint: Path) -> tuple[dict[str, list[float]], int | None]:
    """nnU-Net's log, and the number of weights."""
    content = read_checkpoint(checkpoint, ("logging",), weights=False)
    weights = content.get("network_weights", {}).values()
    number = sum(weight.numel() for weight in weights if weight.is_floating_point())
    return dict(content["logging"]), number or None
