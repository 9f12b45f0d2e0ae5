"""Trainings of a study: what was run with several seeds is one entry."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Any

import pandas as pd

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.evaluate import score_files
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.plans.settings import PLANS_KEY, given_settings
from nnunet_ext.trained.model_folder import Fold, TrainedModel
from nnunet_ext.trainers.modality_dropout import ModalityDropoutTrainer

PLAIN_NAME = "plain nnU-Net"


@dataclass(frozen=True)
class Repeats:
    """Trainings that differ in their seed alone.

    Args:
        models: One a seed, all with the same folds.
    """

    models: tuple[TrainedModel, ...]

    @property
    def first(self) -> TrainedModel:
        """Any of them, for what they have in common."""
        return self.models[0]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that the plans hold, the seed of the first among them."""
        return given_settings(self.first.plans)

    @property
    def seeds(self) -> list[int | None]:
        """Seed of each, None where none was set."""
        return [given_settings(model.plans).get("seed") for model in self.models]

    @property
    def is_plain(self) -> bool:
        """Whether this is nnU-Net's own training: modality dropout's trainer without dropout, which equals it."""
        return self.first.trainer == ModalityDropoutTrainer.__name__ and self.settings.get("modality_dropout") == 0

    @property
    def name(self) -> str:
        """Name for tables."""
        return PLAIN_NAME if self.is_plain else self.first.trainer

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch."""
        return int(self.settings["num_iterations_per_epoch"])

    @property
    def steps(self) -> int:
        """Training steps of each fold, the least of all where some stopped early."""
        epochs = [len(fold.curves["train_losses"]) for model in self.models for fold in model.folds]
        return min(epochs) * self.steps_per_epoch

    @property
    def plan(self) -> dict[str, Any]:
        """The configuration of the plans."""
        return resolved_configuration(self.first.plans, self.first.configuration)

    @property
    def seconds_per_step(self) -> float | None:
        """Median over epochs and folds, with data loading and the epoch's validation; None where it was not logged."""
        seconds = [fold.epoch_seconds for model in self.models for fold in model.folds]
        known = [value for value in seconds if value is not None]
        return median(known) / self.steps_per_epoch if known else None

    @property
    def training_seconds(self) -> float | None:
        """All epochs together, median over folds and seeds; None where it was not logged."""
        known = [sum(seconds) for seconds in self._seconds_of_epochs() if seconds]
        return median(known) if known else None

    def seconds_since_start(self) -> list[float]:
        """Time at the end of each epoch, waiting between epochs left out, median over folds and seeds."""
        return [median(values) for values in zip(*map(accumulate, self._seconds_of_epochs()), strict=False)]

    def _seconds_of_epochs(self) -> list[list[float]]:
        return [fold.seconds_of_epochs for model in self.models for fold in model.folds]

    def curve(self) -> list[float]:
        """Pseudo Dice of each epoch, averaged over regions, folds and seeds."""
        of_folds = [fold.curves["mean_fg_dice"] for model in self.models for fold in model.folds]
        return [float(pd.Series(values).mean()) for values in zip(*of_folds, strict=False)]

    def scores(self, num_processes: int | None = None) -> list[pd.DataFrame]:
        """Rows of ``metrics.csv`` of each seed, over the validation cases of all folds."""
        labels = self.first.labels
        found = []
        for model in self.models:
            references = {case: file for fold in model.folds for case, file in fold.references.items()}
            predictions = {case: file for fold in model.folds for case, file in fold.predictions.items()}
            found.append(score_files(references, predictions, labels, num_processes=num_processes).metrics)
        return found


def group_repeats(models: Sequence[TrainedModel], equal_time: bool = False) -> list[Repeats]:
    """Models by what they have in common but the seed, plain nnU-Net first.

    Args:
        models: What was trained.
        equal_time: Whether they were to train equally long, with numbers of steps that differ.

    Raises:
        InputError: A fold has not been trained or validated, folds differ, the models are of several data sets, or
            steps differ without ``equal_time``.
    """
    problems = [
        f"{model.folder / f'fold_{fold.name}'}: {problem}."
        for model in models
        for fold in model.folds
        if (problem := _problem(fold))
    ]
    problems += [
        f"{model.folder}: {model.trainer} has no settings for steps and seed; a study compares this package's trainers."
        for model in models
        if PLANS_KEY not in model.plans
    ]
    folds = {model.folder: [fold.name for fold in model.folds] for model in models}
    if len({tuple(names) for names in folds.values()}) > 1:
        problems.append(f"Folds differ: {', '.join(f'{folder.name} {names}' for folder, names in folds.items())}.")
    if len(datasets := {model.dataset for model in models}) > 1:
        problems.append(f"A study compares models of one data set, not of {', '.join(sorted(datasets))}.")
    if problems:
        raise InputError(problems)
    groups: dict[str, list[TrainedModel]] = defaultdict(list)
    for model in models:
        groups[model.training].append(model)
    repeats = [Repeats(tuple(group)) for group in groups.values()]
    if not equal_time and len(steps := {entry.steps for entry in repeats}) > 1:
        words = ", ".join(f"{entry.name} {entry.steps}" for entry in repeats)
        raise InputError(f"Steps differ, so nothing is compared at equal steps: {words}. There are {sorted(steps)}.")
    return sorted(repeats, key=lambda entry: not entry.is_plain)


def _problem(fold: Fold) -> str:
    """What keeps a fold from being compared; empty where nothing does."""
    if not fold.finished:
        return "no training that has ended"
    if not fold.predictions or fold.predictions.keys() - fold.references.keys():
        return "no validation predictions with references"
    return ""
