"""Trainers on made-up data, without images on disk, for benchmarks of what they train."""

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cases import Case, make_batch

__all__ = ["Case", "initialized_trainer", "make_batch"]


def initialized_trainer(trainer_class, case: Case, folder: Path, device: torch.device | None = None):
    """A trainer with network, optimizer and loss, whose output goes below ``folder``."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(folder / name)
    data = folder / "nnUNet_preprocessed" / "Dataset999_Case" / "nnUNetPlans_3d"
    data.mkdir(parents=True, exist_ok=True)
    # nnU-Net infers the storage format from the file endings in this folder
    (data / "case.b2nd").touch()
    plans = case.plans | {"continue_training": False}
    trainer = trainer_class(plans, case.configuration, 0, case.dataset_json, device or torch.device("cpu"))
    trainer.initialize()
    return trainer
