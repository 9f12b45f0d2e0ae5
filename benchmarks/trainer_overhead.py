"""What a trainer of this package adds to nnU-Net's epoch beside its network.

Both trainers get the same network, nnU-Net's U-Net, and run whole epochs on the same batch in turn, in one process; the
method is switched off (weight 0). What is left is the trainer: its loss wrapper, its checks, its log and its plot.
Checkpoints, which hold the same tensors, are left out, and so is loading data, which is nnU-Net's. The health of the
training is measured as in any training, in one step of ten; weighing the gradients of the loss components, in one epoch
of ten, and the plot of the health are timed apart and added.

    python benchmarks/trainer_overhead.py --output benchmarks/results/NAME.json
"""

import argparse
import contextlib
import io
import json
import math
import tempfile
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from training_step import environment

from nnunet_ext.architectures import NetworkOutput
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import ModalityPairingTrainer
from nnunet_ext.trainers.health import EPOCHS_BETWEEN_SHARES
from nnunet_ext.trainers.health_plot import EPOCHS_BETWEEN_PLOTS, plot_health

NNUNET_STEPS, NNUNET_VALIDATION_STEPS = 250, 50  # of an epoch of nnU-Net


class _PlainUNetAsMethod(nn.Module):
    """nnU-Net's U-Net with the output of a method's network, so that the loss records its components."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        logits = self.network(x)
        return NetworkOutput(logits, None) if self.training else logits


def epoch(trainer, batch: dict, steps: int) -> tuple[float, float]:
    """Seconds of an epoch in training and validation steps, in nnU-Net's proportion, and in the rest of it."""
    start = time.perf_counter()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    steps_start = time.perf_counter()
    train_outputs = [trainer.train_step(batch) for _ in range(steps)]
    steps_end = time.perf_counter()
    trainer.on_train_epoch_end(train_outputs)
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        validation_start = time.perf_counter()
        validation_outputs = [
            trainer.validation_step(batch) for _ in range(max(1, round(steps * NNUNET_VALIDATION_STEPS / NNUNET_STEPS)))
        ]
        validation_end = time.perf_counter()
        trainer.on_validation_epoch_end(validation_outputs)
    trainer.on_epoch_end()
    in_steps = steps_end - steps_start + validation_end - validation_start
    return in_steps, time.perf_counter() - start - in_steps


def health_apart(method: Any, batch: dict, own: Any) -> tuple[float, float]:
    """What is not in every epoch: weighing the components' gradients, in training steps, and seconds of the plot."""

    def seconds(function: Any) -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    method.network.train()
    method.current_epoch = 1
    method.train_step(batch)
    step = lambda: method.train_step(batch)  # noqa: E731
    weigh = lambda: method._measure_shares(batch["data"].to(method.device), batch["target"])  # noqa: E731
    ratios = [seconds(weigh) / seconds(step) for _ in range(5)]
    plots = [
        seconds(lambda: plot_health(own.log_curves, own.region_names, own.output_folder + "/h.png")) for _ in "abc"
    ]
    return float(np.median(ratios)), float(np.median(plots))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="side of the patch, voxels")
    parser.add_argument("--base", type=int, default=8, help="features of the first stage")
    parser.add_argument(
        "--steps", type=int, default=10, help="training steps of an epoch; times are scaled to nnU-Net's 250"
    )
    parser.add_argument("--epochs", type=int, default=31, help="epochs of each trainer")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    case = Case(patch_size=(arguments.side,) * 3, base=arguments.base, settings={"pairing_weight": 0.0})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        host = make_trainer(nnUNetTrainer, case, Path(folder) / "host", device=device)
        own = make_trainer(ModalityPairingTrainer, case, Path(folder) / "own", device=device)
        own.network = _PlainUNetAsMethod(deepcopy(host.network))
        own.set_deep_supervision_enabled = lambda enabled: None  # stays on, as the host's does between two epochs
        own.optimizer, own.lr_scheduler = own.configure_optimizers()
        images, target = make_batch(host, case)
        batch = {"data": images, "target": target, "keys": ["a", "b"]}
        for trainer in (host, own):
            trainer.disable_checkpointing = True
            epoch(trainer, batch, 1)
        # rounds x trainers x (steps, rest)
        seconds = np.array([[epoch(t, batch, arguments.steps) for t in (host, own)] for _ in range(arguments.epochs)])
        recorded = own.logger.get_value("loss_segmentation", step=-1)
        method = make_trainer(
            ModalityPairingTrainer, replace(case, settings={}), Path(folder) / "method", device=device
        )
        shares, plot = health_apart(method, batch, own)
    if not math.isfinite(recorded):
        raise SystemExit("the loss components were not recorded, so their cost was not measured")
    steps_ratio = np.median(seconds[:, 1, 0] / seconds[:, 0, 0])
    (host_steps, host_rest), (_, own_rest) = np.median(seconds, axis=0)
    host_steps *= NNUNET_STEPS / arguments.steps
    report = {
        "settings": {k: v for k, v in vars(arguments).items() if k != "output"},
        "environment": environment(device),
        "ratio_of_steps": steps_ratio,
        "nnUNetTrainer_seconds_of_steps": host_steps,
        "nnUNetTrainer_seconds_of_the_rest": host_rest,
        "ModalityPairingTrainer_seconds_of_the_rest": own_rest,
        "gradient_shares_in_training_steps": shares,
        "plot_of_the_health_seconds": plot,
        "ratio_of_epochs": (host_steps * steps_ratio + own_rest + plot / EPOCHS_BETWEEN_PLOTS)
        / (host_steps + host_rest)
        + shares / (EPOCHS_BETWEEN_SHARES * NNUNET_STEPS),
    }
    print(json.dumps(report, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
