"""Model folders as nnU-Net's training leaves them, and images to predict, small enough for unit tests."""

import json
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_ext.testing import make_trainer

CHECKPOINT = "checkpoint_final.pth"
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
