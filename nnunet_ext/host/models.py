"""nnU-Net's search among trainers, and among trained models."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

NOT_FOUND = "Could not find requested nnunet trainer"


class BestModels(NamedTuple):
    """Result of the search for the best configuration.

    Attributes:
        models: ``"trainer"``, ``"plans"`` and ``"configuration"`` of the best model, or of the two of the best pair.
        folder: Where ``postprocessing.pkl``, ``plans.json``, ``dataset.json`` and the post-processed predictions of
            the training cases, ``postprocessed/``, are.
    """

    models: list[dict[str, str]]
    folder: Path


class TrainerSearch(NamedTuple):
    """How nnU-Net's search for a trainer ended.

    Attributes:
        found: What ``-tr NAME`` means; None where there is none.
        module: File of the module that it was found in, where that is in a folder of nnUNet_extTrainer.
        error: What a module raised when it was imported on the way, or that what was found is no trainer.
    """

    found: Any
    module: Path | None
    error: Exception | None


def search_trainer(name: str) -> TrainerSearch:
    """Search as ``nnUNetv2_train -tr NAME`` does, in nnU-Net and in the folders that nnUNet_extTrainer names."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    output = StringIO()
    found = error = None
    with redirect_stdout(output):  # nnU-Net prints every module of these folders that it looks into
        try:
            found = recursive_find_trainer_class_by_name(name)
        except Exception as caught:  # whatever somebody's module raises
            if not (isinstance(caught, RuntimeError) and NOT_FOUND in str(caught)):
                error = caught
    modules = re.findall(r"^Found class \S+ in (\S+)$", output.getvalue(), re.MULTILINE)
    folders = re.findall(r"^Searching in: (.+)$", output.getvalue(), re.MULTILINE)
    module = Path(folders[-1], *modules[-1].split(".")).with_suffix(".py") if modules and folders else None
    return TrainerSearch(found, module, error)


def find_trainer(name: str) -> type:
    """The class that ``-tr NAME`` means, in nnU-Net or a folder that nnUNet_extTrainer names.

    Raises:
        LookupError: There is none.
        Exception: A module that nnU-Net has imported on its way raised it.
    """
    search = search_trainer(name)
    if search.error is not None:
        raise search.error
    if search.found is None:
        folders = os.environ.get("nnUNet_extTrainer", "")
        raise LookupError(f"nnU-Net finds no trainer '{name}'; nnUNet_extTrainer is '{folders}'.")
    return search.found


def trainers_folder() -> Path:
    """Folder of nnU-Net's own trainers, where it looks first."""
    from nnunetv2.training import nnUNetTrainer

    return Path(nnUNetTrainer.__path__[0])


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
