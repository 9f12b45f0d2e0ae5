"""Model folders as nnU-Net's training leaves them, and images to predict, small enough for unit tests."""

import json
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from label_cases import tumour, write_folder

from nnunet_ext.testing import Case, make_trainer

CHECKPOINT = "checkpoint_final.pth"
STUDIED_CASE = Case(regions=True)
STUDIED = {"num_epochs": 2, "num_iterations_per_epoch": 10}  # settings of a study's models
RESAMPLING = {
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}


def model_folder(trainer_class, case, tmp_path) -> Path:
    """Folder of an untrained model of one fold."""
    plans = case.plans
    plans["configurations"][f"{case.dimension}d"].update(RESAMPLING)
    plans["foreground_intensity_properties_per_channel"] = {str(c): {} for c in range(len(case.channels))}
    trainer = make_trainer(trainer_class, case, tmp_path, plans=plans)
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(folder / "fold_0" / CHECKPOINT))
    (folder / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(case.dataset_json))
    return folder


def write_images(tmp_path, shape, n_channels=2) -> list[Path]:
    """Files of one case, random noise."""
    generator = np.random.default_rng(0)
    files = [tmp_path / f"case_{channel:04d}.nii.gz" for channel in range(n_channels)]
    for file in files:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(generator.uniform(1, 2, shape).astype(np.float32)), str(file))
    return files


def studied_model(folder, trainer, seed, predictions, epochs=2, seconds=20, **settings) -> Path:
    """Folder of a model of one fold that was trained and validated, for a study; its references are in ``gt``."""
    model = folder / f"{trainer.__name__}__Plans{seed}__3d"
    validation = write_folder(model / "fold_0" / "validation", predictions)
    gt = write_folder(folder / "gt", {case: tumour() for case in predictions})
    entries = [{"reference_file": str(gt / f"{case}.nii.gz")} for case in predictions]
    (validation / "summary.json").write_text(json.dumps({"metric_per_case": entries}))
    plans = STUDIED_CASE.plans | {"dataset_name": "Dataset999_Case", "plans_name": f"Plans{seed}"}
    plans |= {"nnunet_ext": STUDIED | settings | {"seed": seed}}
    (model / "plans.json").write_text(json.dumps(trainer.prepare_plans(plans, "3d", STUDIED_CASE.dataset_json)[0]))
    (model / "dataset.json").write_text(json.dumps(STUDIED_CASE.dataset_json))
    (model / "fold_0" / "debug.json").write_text(json.dumps({"device": "cpu", "torch_version": "2.9"}))
    log = {
        "train_losses": [0.0] * epochs,
        "mean_fg_dice": [0.1 * (seed + 1), 0.2 * (seed + 1)][:epochs],
        "epoch_start_timestamps": [0, 30][:epochs],
        "epoch_end_timestamps": [seconds, 30 + seconds][:epochs],
    }
    torch.save({"logging": log, "network_weights": {}}, model / "fold_0" / "checkpoint_final.pth")
    return model
