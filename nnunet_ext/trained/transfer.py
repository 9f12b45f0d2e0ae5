"""``nnunet_ext transfer``: weights of a trained model for a data set with other channels or labels."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nnunet_ext.errors import InputError
from nnunet_ext.files.checkpoint import FINAL, atomic_checkpoint, configuration_of, read_checkpoint
from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.host.trainer import nnUNetTrainer
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.planning.dataset_folder import preprocessed_folder, read_plans
from nnunet_ext.plans.network_entry import check_names
from nnunet_ext.trained.correspondence import Side, corresponding
from nnunet_ext.trained.model_folder import fold_checkpoint
from nnunet_ext.trained.moved_weights import move_weights
from nnunet_ext.trained.transfer_table import Row, heads_not_loaded, transfer_rows
from nnunet_ext.trained.weight_axes import PlannedNetwork
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.lookup import find_trainer

SEED = 0  # of what is new, so that the same command writes the same weights


class Transfer(NamedTuple):
    """What was written.

    Attributes:
        file: The file.
        trainer: Name of the trainer that it is for.
        configuration: Configuration that it is for.
        rows: What became of what.
        heads_left_out: Whether nnU-Net leaves the segmentation heads of this network out of ``-pretrained_weights``.
    """

    file: Path
    trainer: str
    configuration: str
    rows: list[Row]
    heads_left_out: bool


def transfer_weights(
    model: Path,
    dataset: str,
    plans: str,
    output: Path,
    trainer: str | None = None,
    configuration: str | None = None,
    fold: str | None = None,
    checkpoint: str = FINAL,
) -> Transfer:
    """Write weights of a trained model for another data set, for ``nnUNetv2_train -pretrained_weights``.

    Args:
        model: Folder of the model, ``TRAINER__PLANS__CONFIGURATION``.
        dataset: Number or name of the data set in nnUNet_preprocessed that is to be trained on.
        plans: Name of the plans to train with.
        output: File to write; must not exist.
        trainer: Trainer to train with; None: the model's own.
        configuration: Configuration to train; None: the model's own.
        fold: Fold of the model, or ``"all"``; None takes the first there is.
        checkpoint: Name of its checkpoint file.

    Raises:
        TransferError: The networks are not of one topology.
        UserError: Anything else that is wrong with the model, the data set, the plans or the output.
    """
    if output.exists():
        raise InputError(f"{output} exists already. Delete it or choose another file with -o.")
    file = fold_checkpoint(model, fold, checkpoint)
    trained = read_checkpoint(file)
    there = configuration_of(trained, file)
    here = configuration or there
    plans_there = read_json_object(model / "plans.json", ["configurations"])
    source = _side(find_trainer(trained["trainer_name"]), plans_there, there, folder=model)
    folder = preprocessed_folder(dataset)
    trainer_class = find_trainer(trainer or trained["trainer_name"])
    plans_here = _prepared(trainer_class, read_plans(folder, plans), here, dataset_json=read_dataset_json(folder))
    target = _side(trainer_class, plans_here, here, folder=folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        drawn = target.network.build().state_dict()
    weights: dict[str, Tensor] = trained["network_weights"]
    same = corresponding(source, target, weights, drawn)
    moved = move_weights(weights, source, target, same, drawn)
    content = {
        "network_weights": moved.weights,
        # what makes it a checkpoint that this package reads, and nnU-Net predicts with
        "trainer_name": trainer_class.__name__,
        "init_args": {
            "plans": plans_here,
            "configuration": here,
            "fold": 0,
            "dataset_json": dict(target.labels.content),
        },
        "inference_allowed_mirroring_axes": trained.get("inference_allowed_mirroring_axes"),
    }
    with atomic_checkpoint(output) as temporary:
        torch.save(content, temporary)
    return Transfer(
        output,
        trainer_class.__name__,
        here,
        transfer_rows(source, target, same, moved),
        heads_left_out=bool(heads_not_loaded(moved.weights)),
    )


def _side(trainer: type[nnUNetTrainer], plans: dict[str, Any], configuration: str, folder: Path) -> Side:
    """A network, and its data set as ``dataset.json`` in a folder describes it."""
    check_names(plans, configuration)
    network = PlannedNetwork(trainer, plans, configuration, dataset_json=read_dataset_json(folder))
    return Side(network, read_dataset_labels(folder / "dataset.json"))


def _prepared(
    trainer: type[nnUNetTrainer], plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
) -> dict[str, Any]:
    """Plans as the training will have them."""
    if issubclass(trainer, MethodTrainer):
        plans, _, _ = trainer.prepare_plans(plans, configuration, dataset_json)
    return plans
