"""Trainers and batches of a case, as nnU-Net makes them."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from nnunet_ext.testing.case import Case


def make_trainer(
    trainer_class: type,
    case: Case,
    folder: Path,
    *,
    plans: dict[str, Any] | None = None,
    device: torch.device | None = None,
    scaler: bool = False,
) -> Any:
    """An initialized trainer, with network, optimizer and loss.

    Args:
        trainer_class: A trainer of this package or of nnU-Net.
        case: What it is made for.
        folder: Its output goes below it; nnU-Net's variables name folders in it while the trainer is made.
        plans: Content of a plans file in place of the case's own; not changed.
        device: Device to train on; None for the CPU.
        scaler: Whether it has a gradient scaler on the CPU, as it has one on a GPU.
    """
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    data = folder / "nnUNet_preprocessed" / "Dataset999_Case" / "nnUNetPlans_3d"
    data.mkdir(parents=True, exist_ok=True)
    # nnU-Net infers the storage format from the file endings in this folder
    (data / "case.b2nd").touch()
    plans = (deepcopy(plans) if plans is not None else case.plans) | {"continue_training": False}
    with patch.dict(os.environ, {name: str(folder / name) for name in names}):
        trainer = trainer_class(plans, case.configuration, 0, case.dataset_json, device or torch.device("cpu"))
        if scaler:
            trainer.grad_scaler = torch.GradScaler("cpu")
        trainer.initialize()
    return trainer


def make_batch(trainer, case: Case, seed: int = 0, size: int = 2) -> tuple[torch.Tensor, Any]:
    """Images and the target that nnU-Net's data loader would give with them (a list with deep supervision)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, case.input_channels, *case.patch_size, generator=generator)
    labels = torch.randint(0, 4 + case.ignore, (size, 1, *case.patch_size), generator=generator)
    if case.regions:
        regions = [*trainer.label_manager.foreground_regions, *([(4,)] if case.ignore else [])]
        labels = torch.cat([torch.isin(labels, torch.tensor(region)) for region in regions], dim=1)
    scales = trainer._get_deep_supervision_scales()
    if scales is None:
        return images, labels
    shapes = [[round(s * f) for s, f in zip(case.patch_size, scale, strict=True)] for scale in scales]
    resized = [torch.nn.functional.interpolate(labels.float(), shape).to(labels.dtype) for shape in shapes]
    return images, resized


def training_transforms(trainer: Any) -> Any:
    """The trainer's augmentation, made as nnU-Net's training makes it."""
    rotation, dummy_2d, _, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    return trainer.get_training_transforms(
        trainer.configuration_manager.patch_size,
        rotation,
        trainer._get_deep_supervision_scales(),
        mirror_axes,
        dummy_2d,
        use_mask_for_norm=trainer.configuration_manager.use_mask_for_norm,
        is_cascaded=trainer.is_cascaded,
        foreground_labels=trainer.label_manager.foreground_labels,
        regions=trainer.label_manager.foreground_regions if trainer.label_manager.has_regions else None,
        ignore_label=trainer.label_manager.ignore_label,
    )
