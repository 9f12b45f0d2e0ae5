"""Time of an epoch with real data loading against that of its steps alone.

Generated phantoms are written as nnU-Net's preprocessing would; the trainer then trains as ``nnUNetv2_train`` does,
with its own data loaders and augmentation. The first epoch, which warms up, does not count.
"""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from overview import seconds

from nnunet_ext.datasets.phantom import phantom_case
from nnunet_ext.testing import Case, make_trainer

CASES = 10  # two of them are validated on


def write_preprocessed(shape: tuple[int, int, int], patch_size: tuple[int, ...], folder: Path) -> None:
    """Phantoms as nnU-Net's preprocessing leaves them: cases that need neither cropping nor resampling."""
    target = folder / "nnUNet_preprocessed" / "Dataset999_Case" / "nnUNetPlans_3d"
    target.mkdir(parents=True, exist_ok=True)
    (target.parent / "dataset_fingerprint.json").write_text("{}")  # nnU-Net copies it
    for number in range(CASES):
        phantom = phantom_case(number, shape)
        data, labels = phantom.images.astype(np.float32), phantom.labels[None].astype(np.int16)
        for channel in data:
            inside = channel != 0
            channel[inside] = (channel[inside] - channel[inside].mean()) / channel[inside].std()
        locations = DefaultPreprocessor._sample_foreground_locations(labels, [1, 2, 3])
        properties = {"spacing": [1.0] * 3, "class_locations": locations}
        sizes: dict[str, Any] = {}
        for array, ending in ((data, ""), (labels, "_seg")):
            blocks, chunks = comp_blosc2_params(array.shape, patch_size, array.itemsize)
            sizes |= {f"blocks{ending}": blocks, f"chunks{ending}": chunks}
        nnUNetDatasetBlosc2.save_case(data, labels, properties, str(target / f"phantom_{number:03d}"), **sizes)


def measure(
    trainer_class: type[nnUNetTrainer], case: Case, steps: int, shape: tuple[int, int, int], folder: Path, device: Any
) -> dict[str, Any]:
    """Seconds of an epoch of so many training steps, and a fifth as many of validation, and of these steps alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        write_preprocessed(shape, case.patch_size, folder)
        trainer = make_trainer(trainer_class, case, folder, device=device)
        (Path(trainer.preprocessed_dataset_folder) / "case.b2nd").unlink()  # the helper's, without content
        trainer.num_epochs, trainer.num_iterations_per_epoch = 2, steps
        trainer.num_val_iterations_per_epoch = max(1, steps // 5)
        trainer.disable_checkpointing = True
        batches: list[dict[str, Any]] = []
        train_step = trainer.train_step
        trainer.train_step = lambda batch: (batches.append(batch) if not batches else None, train_step(batch))[1]
        os.environ.setdefault("nnUNet_n_proc_DA", str(max(1, (os.cpu_count() or 1) - 2)))
        trainer.run_training()
        batch = batches[0]
        trainer.network.train()
        trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        alone = [seconds(lambda: train_step(batch), device) for _ in range(max(3, steps // 10))]
    log = trainer.logger.local_logger.my_fantastic_logging
    epoch = log["epoch_end_timestamps"][1] - log["epoch_start_timestamps"][1]
    return {
        "trainer": trainer_class.__name__,
        "steps": steps,
        "epoch_seconds": epoch,
        "step_seconds": sorted(alone)[len(alone) // 2],
        "steps_share_of_epoch": steps * sorted(alone)[len(alone) // 2] / epoch,
        "loading_processes": int(os.environ["nnUNet_n_proc_DA"]),
    }
