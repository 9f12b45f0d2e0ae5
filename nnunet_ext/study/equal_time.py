"""How many epochs make every training of a study as long as plain nnU-Net's, by the times of an earlier study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.plans.settings import TrainingSettings, read_settings

# What the time of an epoch depends on beside patch, batch and network; rows' seconds a step hold their validation
EPOCH_LENGTH = ("num_iterations_per_epoch", "num_val_iterations_per_epoch")
USED = ("name", "dataset", "plans", "settings_unlike_paper", "cost")
MEASURE = "Time all trainers together first, same plans and device: nnunet_ext workflow --study ... num_epochs=3"


@dataclass(frozen=True)
class PlannedTraining:
    """What is going to be trained, in the terms of a study's rows.

    Args:
        name: Name of its row.
        size: Its plans as :func:`nnunet_ext.study.rows.size_of_plans` has them.
        settings: All of its settings.
    """

    name: str
    size: dict[str, Any]
    settings: TrainingSettings


def epochs_at_equal_time(file: Path, trainings: Sequence[PlannedTraining], dataset: str, device: str) -> dict[str, int]:
    """Epochs of each training but the first in which it trains as long as the first, by its name.

    Args:
        file: ``results.yaml`` of an earlier study.
        trainings: Plain nnU-Net, whose ``num_epochs`` is as given, and the others.
        dataset: Name of the data set's folder.
        device: nnU-Net's ``-device``.

    Raises:
        InputError: The file has no rows of a study, or their times are not those of these trainings.
    """
    rows = _read_rows(file)
    found = {training.name: [row for row in rows if row["name"] == training.name] for training in trainings}
    if problems := [
        f"{file} has {len(of_name)} rows of {name} where one is needed. {MEASURE}"
        for name, of_name in found.items()
        if len(of_name) != 1
    ]:
        raise InputError(problems)
    row_of = {name: row for name, (row,) in found.items()}
    problems = [
        f"{file}: {training.name}: {problem}. {MEASURE}"
        for training in trainings
        if (problem := _misfit(row_of[training.name], training, dataset))
    ]
    devices = {str(row.get("device")) for row in row_of.values()}
    if len(devices) > 1 or (device != "cpu" and "cpu" in devices):
        problems.append(f"{file}: times of {', '.join(sorted(devices))}, and -device {device} here. {MEASURE}")
    if problems:
        raise InputError(problems)
    plain, *others = trainings
    seconds = {name: row["cost"]["seconds_per_step"] for name, row in row_of.items()}
    return {
        other.name: max(1, round(plain.settings.num_epochs * seconds[plain.name] / seconds[other.name]))
        for other in others
    }


def _read_rows(file: Path) -> list[dict[str, Any]]:
    import yaml  # of the extra "workflow", which trainings do without

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    rows = content.get("rows") if isinstance(content, dict) else None
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(row, dict) and row.keys() >= set(USED) for row in rows)
    ):
        raise InputError(f"{file} has no rows of a study. Give the study/results.yaml of a workflow with --study.")
    return rows


def _misfit(row: dict[str, Any], training: PlannedTraining, dataset: str) -> str:
    """Why the time of a row is not that of a training; empty where it is."""
    if not (row["cost"].get("seconds_per_step") or 0) > 0:
        return "no seconds a step were measured"
    if row["dataset"] != dataset:
        return f"timed on {row['dataset']}, and {dataset} is to be trained on"
    usual = read_settings(type(training.settings), {})
    timed = row["plans"] | {name: row["settings_unlike_paper"].get(name, getattr(usual, name)) for name in EPOCH_LENGTH}
    planned = training.size | {name: getattr(training.settings, name) for name in EPOCH_LENGTH}
    differences = [
        f"{key} {timed.get(key)}, and {value} here" for key, value in planned.items() if timed.get(key) != value
    ]
    return f"timed with {'; '.join(differences)}" if differences else ""
