"""What a trainer of this package adds to nnU-Net's training loop beside its network.

Both trainers get the same network, nnU-Net's U-Net, and run the same steps in turn, in one process; the method is
switched off. What is left is the trainer: its loss wrapper, its checks and its log.

    python benchmarks/trainer_overhead.py --output benchmarks/results/NAME.json
"""

import argparse
import json
import statistics
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from trainers import Case, initialized_trainer, make_batch
from training_step import environment

from nnunet_ext.trainers import ModalityPairingTrainer


def make(trainer_class, case: Case, folder: Path):
    """An initialized trainer in its first epoch."""
    trainer = initialized_trainer(trainer_class, case, folder)
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    return trainer


def epoch(trainer, batch: dict, steps: int) -> float:
    """Seconds of the training part of an epoch."""
    start = time.perf_counter()
    trainer.on_train_epoch_end([trainer.train_step(batch) for _ in range(steps)])
    return time.perf_counter() - start


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="side of the patch, voxels")
    parser.add_argument("--base", type=int, default=8, help="features of the first stage")
    parser.add_argument("--steps", type=int, default=5, help="steps of an epoch")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of each trainer")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    case = Case(patch_size=(arguments.side,) * 3, base=arguments.base, settings={"pairing_weight": 0.0})
    with tempfile.TemporaryDirectory() as folder:
        host, own = (make(trainer, case, Path(folder)) for trainer in (nnUNetTrainer, ModalityPairingTrainer))
        own.network = deepcopy(host.network)
        own.optimizer, own.lr_scheduler = own.configure_optimizers()
        images, target = make_batch(host, case)
        batch = {"data": images, "target": target, "keys": ["a", "b"]}
        epoch(host, batch, 1), epoch(own, batch, 1)
        times = [
            (epoch(host, batch, arguments.steps), epoch(own, batch, arguments.steps)) for _ in range(arguments.epochs)
        ]
    ratio = statistics.median(b / a for a, b in times)
    report = {
        "settings": {k: v for k, v in vars(arguments).items() if k != "output"},
        "environment": environment(torch.device("cpu")),
        "nnUNetTrainer_median_seconds": statistics.median(a for a, _ in times),
        "ModalityPairingTrainer_median_seconds": statistics.median(b for _, b in times),
        "median_ratio_of_the_same_round": ratio,
    }
    print(json.dumps(report, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
