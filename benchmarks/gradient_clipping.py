"""What clipping the gradient's norm does to short trainings: nnU-Net's 12, less, and none.

Trains a method with SGD and one with Adam on generated phantoms, from the same weights and with the same batches, and
scores phantoms that they have not seen. Norms are those before clipping.

    python benchmarks/gradient_clipping.py --output benchmarks/results/NAME.json
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn
from training_step import environment

from nnunet_ext.datasets.phantom import phantom_case
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import AutoencoderRegularizedTrainer, ModalityPairingTrainer

LIMITS = {"1": 1.0, "12": 12.0, "none": 1e9}
# the learning rate of the Adam method is ten times the paper's, for so few steps
METHODS = {
    ModalityPairingTrainer: {"initial_lr": 1e-2, "warmup_epochs": 0},
    AutoencoderRegularizedTrainer: {"initial_lr": 1e-3, "dropout": 0.0},
}
TRAINING, SCORED = range(12), range(100, 106)
REGIONS = ((1, 2, 3), (1, 3), (3,))


def sample(number: int, side: int) -> tuple[Tensor, Tensor]:
    """A phantom as nnU-Net normalizes it, ``(4, side, side, side)``, and its regions, ``(3, side, side, side)``."""
    case = phantom_case(number, (side, side, side), enhancing=number % 3 != 2)
    images = torch.from_numpy(case.images).float()
    for channel in images:
        inside = channel != 0
        channel[inside] = (channel[inside] - channel[inside].mean()) / channel[inside].std()
    labels = torch.from_numpy(case.labels)
    return images, torch.stack([torch.isin(labels, torch.tensor(region)) for region in REGIONS]).float()


def train(trainer: Any, steps: int, side: int, seed: int) -> dict[str, Any]:
    """Train on batches of two, then score."""
    samples = [sample(number, side) for number in TRAINING]
    generator = torch.Generator().manual_seed(seed)
    norms: list[float] = []
    log_variances: list[float] = []
    if isinstance(trainer, AutoencoderRegularizedTrainer):
        trainer.network.autoencoder.register_forward_hook(
            lambda _, __, output: log_variances.extend([*output.log_variance.detach().aminmax()])
        )
    clip = nn.utils.clip_grad_norm_
    scales = trainer._get_deep_supervision_scales() or [[1.0] * 3]
    trainer.network.train()
    for _ in range(steps):
        chosen = torch.randperm(len(samples), generator=generator)[:2]
        images, target = (torch.stack([samples[i][part] for i in chosen]) for part in range(2))
        targets = [target[..., :: round(1 / s[0]), :: round(1 / s[1]), :: round(1 / s[2])] for s in scales]
        trainer.optimizer.zero_grad(set_to_none=True)
        trainer.forward_and_loss(images, targets if trainer.enable_deep_supervision else target).backward()
        norms.append(float(clip(trainer.network.parameters(), trainer.settings.gradient_clipping)))
        trainer.optimizer.step()
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    dice = []
    with torch.no_grad():
        for number in SCORED:
            images, reference = sample(number, side)
            predicted = trainer.network(images[None])[0] > 0
            for truth, found in zip(reference.bool(), predicted, strict=True):
                if truth.any():
                    dice.append(2 * float((truth & found).sum()) / float(truth.sum() + found.sum()))
    limit = trainer.settings.gradient_clipping
    result = {
        "dice": mean(dice),
        "clipped_steps": sum(norm > limit for norm in norms) / steps,
        "median_norm": median(norms),
        "largest_norm": max(norms),
    }
    if log_variances:
        result["log_variance"] = [float(min(log_variances)), float(max(log_variances))]
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="side of the phantoms and patches, voxels")
    parser.add_argument("--base", type=int, default=4, help="features of the first stage")
    parser.add_argument("--steps", type=int, default=100, help="training steps of batch 2")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each method and limit")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for trainer_class, settings in METHODS.items():
        of_method = results.setdefault(trainer_class.__name__, {name: [] for name in LIMITS})
        for name, limit in LIMITS.items():
            for seed in range(arguments.seeds):
                case = Case(
                    patch_size=(arguments.side,) * 3,
                    base=arguments.base,
                    regions=True,
                    settings=settings | {"gradient_clipping": limit},
                )
                torch.manual_seed(seed)
                with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                    trainer = make_trainer(trainer_class, case, Path(folder))
                    of_method[name].append(train(trainer, arguments.steps, arguments.side, seed))
    report = {
        "settings": {k: v for k, v in vars(arguments).items() if k != "output"},
        "environment": environment(torch.device("cpu")),
        "results": results,
    }
    print(json.dumps(report, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
