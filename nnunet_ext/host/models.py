"""nnU-Net's search among trainers, and among trained models."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple


class BestModels(NamedTuple):
    """Result of the search for the best configuration.

    Attributes:
        models: ``"trainer"``, ``"plans"`` and ``"configuration"`` of the best model, or of the two of the best pair.
        folder: Where ``postprocessing.pkl``, ``plans.json``, ``dataset.json`` and the post-processed predictions of
            the training cases, ``postprocessed/``, are.
    """

    models: list[dict[str, str]]
    folder: Path


def find_trainer(name: str) -> type:
    """The class that ``-tr NAME`` means, in nnU-Net or a folder that nnUNet_extTrainer names.

    Raises:
        LookupError: There is none.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    with redirect_stdout(StringIO()):  # nnU-Net prints every module it looks into
        try:
            return recursive_find_trainer_class_by_name(name)
        except RuntimeError as error:
            raise LookupError(str(error)) from None


def best_models(
    dataset: str, models: Sequence[Mapping[str, str]], folds: Sequence[int], ensembling: bool, num_processes: int
) -> BestModels:
    """Compare models by cross-validation, as ``nnUNetv2_find_best_configuration`` does.

    Args:
        dataset: Name of the data set.
        models: ``"trainer"``, ``"plans"`` and ``"configuration"`` of each.
        folds: Folds to compare.
        ensembling: Whether pairs compete too.
        num_processes: Parallel processes.
    """
    from nnunetv2.evaluation.find_best_configuration import find_best_configuration

    found: dict[str, Any] = find_best_configuration(
        dataset,
        tuple(dict(model) for model in models),
        allow_ensembling=ensembling,
        num_processes=num_processes,
        overwrite=True,
        folds=tuple(folds),
        strict=True,
    )
    best = found["best_model_or_ensemble"]
    names = {"trainer": "trainer", "plans": "plans_identifier", "configuration": "configuration"}
    selected = [{ours: model[theirs] for ours, theirs in names.items()} for model in best["selected_model_or_models"]]
    return BestModels(selected, Path(best["postprocessing_file"]).parent)
