"""Whether a fold was trained with the plans that it is to be trained with now."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import UserError
from nnunet_ext.files.checkpoint import CHECKPOINTS, read_checkpoint
from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.host.trainer import nnUNetTrainer, plans_in_checkpoints
from nnunet_ext.planning.dataset_folder import read_plans
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.plans.plans_difference import listed, plans_difference
from nnunet_ext.plans.settings import PLANS_KEY
from nnunet_ext.trainers.lookup import find_trainer
from nnunet_ext.trainers.without_output import without_output


class OtherPlansError(UserError):
    """A fold that was trained with plans other than those that there are now."""


def check_fold_plans(fold: Path, preprocessed: Path) -> None:
    """Check that what a fold's checkpoint was trained with is what a training would be given now.

    Without a checkpoint, or without plans of this name any more, there is nothing to compare; with the setting
    ``continue_with_changes``, nothing is compared.

    Args:
        fold: Fold's folder, ``<trainer>__<plans>__<configuration>/fold_X``.
        preprocessed: Data set's folder in nnUNet_preprocessed.

    Raises:
        OtherPlansError: It is not; the message names what differs.
        UserError: The checkpoint, the plans or ``dataset.json`` cannot be read.
    """
    checkpoint = next((fold / name for name in CHECKPOINTS if (fold / name).is_file()), None)
    trainer, name, configuration = fold.parent.name.split("__")
    file = preprocessed / f"{name}.json"
    if checkpoint is None or not file.is_file():
        return
    there = _trained_with(checkpoint)
    plans = read_plans(preprocessed, name)
    if plans.get(PLANS_KEY, {}).get("continue_with_changes"):
        return  # the user knows, and the training's log will say what differs
    here = _as_trained(find_trainer(trainer), plans, configuration, read_dataset_json(preprocessed))
    # a setting that came with a later version does not make a model another, unless it was given
    given = plans.get(PLANS_KEY, {})
    known = there.get(PLANS_KEY, {})
    if PLANS_KEY in here:
        here[PLANS_KEY] = {key: value for key, value in here[PLANS_KEY].items() if key in known or key in given}
    differences = plans_difference(_of(there, configuration), _of(here, configuration))
    if differences:
        raise OtherPlansError(
            f"{checkpoint} was trained with other plans than {file} holds now: {listed(differences)}. To train this "
            f"fold again, delete {fold}; to keep it, give the new plans another name."
        )


def _trained_with(checkpoint: Path) -> dict[str, Any]:
    try:
        return _as_json(read_checkpoint(checkpoint, weights=False)["init_args"]["plans"])
    except (KeyError, TypeError):
        raise UserError(f"{checkpoint} is no checkpoint of nnU-Net v2.") from None


def _as_trained(
    trainer: type[nnUNetTrainer], plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
) -> dict[str, Any]:
    """Plans as the trainer changes them before it trains; these are what its checkpoints hold."""
    with without_output():
        made = trainer(
            deepcopy(plans) | {"continue_training": False}, configuration, 0, dataset_json, torch.device("cpu")
        )
    return _as_json(plans_in_checkpoints(made))


def _as_json(plans: dict[str, Any]) -> dict[str, Any]:
    # other people's trainers may put tuples, NumPy's numbers or classes there
    return json.loads(json.dumps(plans, default=str))


def _of(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """What of the plans one configuration is trained with."""
    others = {key: value for key, value in plans.items() if key not in ("configurations", "continue_training")}
    return others | {configuration: resolved_configuration(plans, configuration)}
