"""A trained model in memory, ready to predict case after case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nnunet_ext.architectures.slice_network import SliceNetwork
from nnunet_ext.errors import UserError
from nnunet_ext.files.checkpoint import FINAL, configuration_of, read_checkpoint
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.host.prediction import LoadedModel
from nnunet_ext.plans.network_entry import check_names


@dataclass(frozen=True)
class PredictionChoices:
    """How a model predicts, with nnU-Net's own defaults.

    Args:
        model: Folder of a trained model, ``TRAINER__PLANS__CONFIGURATION``.
        folds: Folds whose logits are averaged; None takes all there are.
        checkpoint: Name of the checkpoint file.
        mirroring: Whether mirrored passes are averaged.
    """

    model: str
    folds: tuple[str, ...] | None = None
    checkpoint: str = FINAL
    mirroring: bool = True


def load_model(choices: PredictionChoices, device: torch.device) -> LoadedModel:
    """A trained model with the weights of its folds, through nnU-Net's own loading, which could run any program.

    Raises:
        UserError: Not a trained model, no such fold or checkpoint, nnU-Net does not find its trainer, or plans or
            checkpoints hold something else than those of a model do.
    """
    folder = Path(choices.model)
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}; give the folder TRAINER__PLANS__CONFIGURATION of nnUNet_results.")
    found = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{choices.checkpoint}"))
    folds = choices.folds or tuple(fold for fold in found if fold != "all") or tuple(found)
    if missing := [fold for fold in folds if fold not in found]:
        raise UserError(f"{folder} has no {choices.checkpoint} for fold {', '.join(missing)}; it has {found}.")
    if not folds:
        raise UserError(f"{folder} has no fold with a {choices.checkpoint}.")
    _check_content(folder, folds, choices.checkpoint)
    try:
        model = LoadedModel(folder, folds, choices.checkpoint, mirroring=choices.mirroring, device=device)
    except LookupError:
        raise UserError(f"nnU-Net does not find the trainer of {folder}. Run: nnunet_ext doctor") from None
    if not choices.mirroring and isinstance(model.network, SliceNetwork):
        model.network.mirror_axes = ()  # these networks mirror their input themselves
    return model


def _check_content(folder: Path, folds: Sequence[str], checkpoint: str) -> None:
    """Refuse what nnU-Net would unpickle, or import by its name, although no model of nnU-Net's has it."""
    plans = read_json_object(folder / "plans.json", ["configurations"])
    for fold in folds:
        file = folder / f"fold_{fold}" / checkpoint
        content = read_checkpoint(file, weights=False)
        check_names(plans, configuration_of(content, file))
