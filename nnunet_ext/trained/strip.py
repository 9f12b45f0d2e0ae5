"""``nnunet_ext strip``: a trained model without what only training needs."""

import json
import pydoc
import shutil
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.architectures import HostUNet
from nnunet_ext.errors import UserError
from nnunet_ext.files.atomic import atomic_folder, write_text_atomically
from nnunet_ext.files.checkpoint import BEST, FINAL, atomic_checkpoint, configuration_of, read_checkpoint
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.plans.network_entry import HOST_NETWORKS, check_names, resolved_configuration

# What nnU-Net's predictor reads, and what says how the weights came about. Optimizer state and loss curves stay behind.
KEPT = (
    "network_weights",
    "init_args",
    "trainer_name",
    "inference_allowed_mirroring_axes",
    "current_epoch",
    "_best_ema",
)
OWN_NETWORKS = "nnunet_ext.architectures."
HOST_TRAINER = "nnUNetTrainer"


# What nnUNetv2_export_model_to_zip wants beside checkpoints and plans, and what post-processing needs; globs below the
# model's folder. Predictions of the validation cases stay behind.
FILES = (
    "*",
    "fold_*/progress.png",
    "fold_*/debug.json",
    "fold_*/network_architecture.pdf",
    "fold_*/validation/summary.json",
    "crossval_results_folds_*/*.json",
    "crossval_results_folds_*/postprocessing.pkl",
)


class StripError(UserError):
    """A folder that is no trained model of this package, or that would be written into itself."""


def strip_model(model: Path, output: Path) -> list[tuple[Path, int, int]]:
    """Write a copy of a trained model that predicts the same and holds no training-only weights.

    A network says by ``training_only`` which submodules do not take part in predictions, and is built without them by
    ``inference_only=True``; the copy's plans say so. Where nothing but nnU-Net's own network is left then, they name
    that. Other networks lose the optimizer's state alone. nnU-Net's own networks predict as models of
    ``nnUNetTrainer``, without this package.

    Args:
        model: Folder of a model as nnU-Net writes it, with ``plans.json`` and ``fold_*`` folders.
        output: Folder to write; must not exist, or be empty.

    Returns:
        For each checkpoint its new path, its old size and its new size in bytes.

    Raises:
        StripError: No trained model, not a model of this package, or the output is the model's own folder or in it.
        InputError: A file cannot be read, the output holds something, or it cannot be written.
    """
    plans_file = model / "plans.json"
    checkpoints = sorted(file for name in (FINAL, BEST) for file in model.glob(f"fold_*/{name}"))
    if not plans_file.is_file() or not checkpoints:
        raise StripError(f"{model} is not a trained model: it needs plans.json and fold_*/{FINAL}.")
    if output.resolve().is_relative_to(model.resolve()):
        raise StripError(f"{output} is the model's own folder, or in it. Choose another folder with -o.")
    plans = read_json_object(plans_file, ["configurations"])
    read_json_object(model / "dataset.json")  # the copy could not predict with a damaged one
    sizes = []
    with atomic_folder(output) as new:
        for file in checkpoints:
            checkpoint = read_checkpoint(file)
            new_plans, without = plans_without_training_only(plans, configuration_of(checkpoint, file))
            target = new / file.relative_to(model)
            target.parent.mkdir(exist_ok=True)
            with atomic_checkpoint(target) as temporary:
                torch.save(stripped_checkpoint(checkpoint, new_plans, without), temporary)
            sizes.append((output / file.relative_to(model), file.stat().st_size, target.stat().st_size))
        for file in (file for pattern in FILES for file in model.glob(pattern)):
            if file.is_file() and file != plans_file:
                target = new / file.relative_to(model)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
        write_text_atomically(new / "plans.json", json.dumps(new_plans, indent=4))
    return sizes


def plans_without_training_only(plans: Mapping[str, Any], configuration: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Plans whose network has no training-only parts, and the names of the submodules that it lacks.

    Args:
        plans: Plans saved beside a model; not changed.
        configuration: Configuration of the model.

    Raises:
        StripError: The plans lack the configuration, or no trainer of this package trains the network.
    """
    new = deepcopy(dict(plans))
    if configuration not in new.get("configurations", {}):
        raise StripError(f"plans.json has no configuration '{configuration}', which the model was trained with.")
    name = _network_name(new, configuration)
    if name not in HOST_NETWORKS and not name.startswith(OWN_NETWORKS):
        raise StripError(f"The model's network is {name}, not one that a trainer of nnunet_ext trains.")
    check_names(new, configuration)
    if name in HOST_NETWORKS:
        return new, ()
    network_class = pydoc.locate(name)
    without = tuple(getattr(network_class, "training_only", ()))
    if without:
        architecture = new["configurations"][configuration]["architecture"]
        host = HostUNet.host_architecture(architecture) if network_class is HostUNet else None
        architecture["arch_kwargs"]["inference_only"] = True
        new["configurations"][configuration]["architecture"] = host or architecture
    return new, without


def stripped_checkpoint(
    checkpoint: Mapping[str, Any], plans: Mapping[str, Any], without: tuple[str, ...]
) -> dict[str, Any]:
    """Checkpoint for predictions.

    Args:
        checkpoint: Content of a checkpoint file.
        plans: Plans to put into it.
        without: Submodules whose weights are left out.
    """
    new = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    prefixes = tuple(f"{name}." for name in without)
    new["network_weights"] = {k: v for k, v in checkpoint["network_weights"].items() if not k.startswith(prefixes)}
    if _network_name(plans, checkpoint["init_args"]["configuration"]) in HOST_NETWORKS:
        # the network is nnU-Net's own, so nnU-Net predicts without this package
        new["trainer_name"] = HOST_TRAINER
    new["init_args"] = {**checkpoint["init_args"], "plans": deepcopy(dict(plans))}
    return new


def _network_name(plans: Mapping[str, Any], configuration: str) -> str:
    return resolved_configuration(dict(plans), configuration)["architecture"]["network_class_name"]
