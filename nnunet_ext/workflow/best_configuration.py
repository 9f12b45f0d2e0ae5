"""nnU-Net's search for the best configuration among given models, with what is needed to apply its result."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.errors import UserError
from nnunet_ext.files.atomic import atomic_folder
from nnunet_ext.host.models import best_models
from nnunet_ext.workflow.fold_plans import check_fold_plans


class ModelNameError(UserError):
    """A name that is not that of a model folder."""


def write_best_configuration(
    dataset: str, models: Sequence[str], folds: Sequence[int], output: Path, ensembling: bool, num_processes: int
) -> list[str]:
    """Search as ``nnUNetv2_find_best_configuration`` does, and gather what its result needs in one folder.

    That command tries all combinations of its trainers, plans and configurations and stops when one is not trained.
    Methods have plans of their own, so their models are no such grid: they are given one by one here.

    Args:
        dataset: Name of the data set.
        models: Names of model folders, ``TRAINER__PLANS__CONFIGURATION``.
        folds: Folds to compare, all of which must be validated; with probabilities where ``ensembling`` is on.
        output: Folder to write: ``models.txt`` (a name a line), ``postprocessing.pkl``, ``plans.json``,
            ``dataset.json`` and ``crossvalidation/`` with the post-processed predictions of the training cases.
        ensembling: Whether pairs of models compete too.
        num_processes: Parallel processes.

    Returns:
        The best model, or the two of the best pair.

    Raises:
        ModelNameError: A name has not three parts.
        OtherPlansError: A fold was trained with other plans than there are now.
        InputError: ``output`` holds something already, or it cannot be written.
    """
    trained = [_parts(model) for model in models]
    for model in models:
        for fold in folds:
            check_fold_plans(
                Path(os.environ["nnUNet_results"], dataset, model, f"fold_{fold}"),
                Path(os.environ["nnUNet_preprocessed"], dataset),
            )
    selected, source = best_models(dataset, trained, folds, ensembling=ensembling, num_processes=num_processes)
    best = [f"{model['trainer']}__{model['plans']}__{model['configuration']}" for model in selected]
    with atomic_folder(output) as partial:
        (partial / "models.txt").write_text("".join(f"{model}\n" for model in best))
        for name in ("postprocessing.pkl", "plans.json", "dataset.json"):
            shutil.copyfile(source / name, partial / name)
        shutil.copytree(source / "postprocessed", partial / "crossvalidation")
    return best


def _parts(model: str) -> dict[str, str]:
    parts = model.split("__")
    if len(parts) != 3:
        raise ModelNameError(f"'{model}' is not the name of a model: TRAINER__PLANS__CONFIGURATION.")
    return dict(zip(("trainer", "plans", "configuration"), parts, strict=True))
