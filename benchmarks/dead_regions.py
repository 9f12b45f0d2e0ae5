"""Whether a region dies in training: its logits saturate, and a Dice loss gives it no gradient any more.

Short trainings on generated phantoms, noisy, in which a region is absent from most patches: three cases of four have no
enhancing tumour, and a patch is a quarter of the brain. Half of the patches hold some region, as nnU-Net's do. A region
is called dead when, in the last 25 steps that have it, its gradient at the logits, summed over the voxels, is below
0.001, and Dice on unseen phantoms is below 0.1. ``he`` is the initialization that the autoencoder network had before.

A row is a training; those in the output file already are not run again.

    python benchmarks/dead_regions.py autoencoder --output benchmarks/results/dead_regions_autoencoder_cpu.json
"""

import argparse
import contextlib
import io
import json
import tempfile
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn
from torch.nn import functional as F
from training_step import environment

from nnunet_ext.architectures import AttentionFusionUNet, NetworkOutput
from nnunet_ext.datasets.phantom import phantom_case
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNTrainer,
    NestedUNetTrainer,
)

METHODS: dict[str, list[tuple[type, dict[str, Any], str]]] = {
    "autoencoder": [(AutoencoderRegularizedTrainer, {}, "he"), (AutoencoderRegularizedTrainer, {}, "own")],
    "others": [
        (BiFPNTrainer, {}, "own"),
        (NestedUNetTrainer, {}, "own"),
        (AttentionFusionTrainer, {"cross_entropy_weight": 0.0}, "own"),
    ],
}
REGIONS = ((1, 2, 3), (1, 3), (3,))
SIDE, SHAPE, NOISE = 24, (36, 42, 36), 1.0  # noise in standard deviations of the image
TRAINING, SCORED, LAST_STEPS = range(12), range(100, 108), 25
NO_GRADIENT, NO_DICE = 1e-3, 0.1


def sample(number: int) -> tuple[Tensor, Tensor]:
    """A phantom as nnU-Net normalizes it, with more noise, ``(4, *SHAPE)``, and its regions, ``(3, *SHAPE)``."""
    case = phantom_case(number, SHAPE, enhancing=number % 4 == 0)
    images = torch.from_numpy(case.images).float()
    for channel in images:
        inside = channel != 0
        channel[inside] = (channel[inside] - channel[inside].mean()) / channel[inside].std()
    noise = NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(number))
    labels = torch.from_numpy(case.labels)
    regions = torch.stack([torch.isin(labels, torch.tensor(region)) for region in REGIONS]).float()
    return torch.where(images != 0, images + noise, images), regions


def patch(rng: np.random.Generator, images: Tensor, regions: Tensor, with_region: bool) -> tuple[Tensor, Tensor]:
    """A patch anywhere, or around a voxel of a region that the case has."""
    corner = [int(rng.integers(side - SIDE + 1)) for side in SHAPE]
    if with_region:
        present = [region for region in regions if region.any()]
        voxels = present[rng.integers(len(present))].nonzero()
        centre = voxels[rng.integers(len(voxels))].tolist()
        corner = [min(max(c - SIDE // 2, 0), side - SIDE) for c, side in zip(centre, SHAPE, strict=True)]
    window = (slice(None), *(slice(start, start + SIDE) for start in corner))
    return images[window], regions[window]


def logits_of_any_size(network: nn.Module, images: Tensor) -> Tensor:
    """Logits; the network of attention fusion needs sides that its strides divide, as nnU-Net's own does."""
    if not isinstance(network, AttentionFusionUNet):
        return network(images)
    more = [-side % 8 for side in images.shape[2:]]
    padded = F.pad(images, [value for one in reversed(more) for value in (0, one)])
    return network(padded)[(..., *(slice(side) for side in images.shape[2:]))]


def train(trainer: Any, steps: int, seed: int) -> dict[str, Any]:
    """Train on batches of two, then score."""
    samples = [sample(number) for number in TRAINING]
    rng = np.random.default_rng(seed)
    looks: list[tuple[Tensor, ...]] = []
    trainer.network.train()
    for _ in range(steps):
        patches = [patch(rng, *samples[rng.integers(len(samples))], with_region=bool(i)) for i in range(2)]
        images, target = (torch.stack(parts) for parts in zip(*patches, strict=True))
        trainer.optimizer.zero_grad(set_to_none=True)
        output = trainer.network(images)
        logits = output.logits if isinstance(output, NetworkOutput) else output
        maps = logits if isinstance(logits, list) else [logits]
        for one in maps:
            one.retain_grad()
        trainer.loss(output, target).backward()
        nn.utils.clip_grad_norm_(trainer.network.parameters(), trainer.settings.gradient_clipping)
        trainer.optimizer.step()
        voxels = (0, 2, 3, 4)
        shown = torch.stack([one.detach() for one in maps]).mean(0)
        gradient = torch.stack([one.grad.abs().sum(voxels) for one in maps]).sum(0)
        saturated = (shown.abs() > 24 * np.log(2)).float().mean(voxels)
        present = target.sum(voxels) > 0
        looks.append((torch.where(present, gradient, torch.nan), saturated, shown.abs().amax(voxels)))
    trainer.network.eval()
    dice: list[list[float]] = [[] for _ in REGIONS]
    with torch.no_grad():
        for images, reference in (sample(number) for number in SCORED):
            called = logits_of_any_size(trainer.network, images[None])[0] > 0
            for scores, truth, found in zip(dice, reference.bool(), called, strict=True):
                if truth.any():
                    scores.append(2 * float((truth & found).sum()) / float(truth.sum() + found.sum()))
    gradient, saturated, largest = (torch.stack(values) for values in zip(*looks, strict=True))
    at_end = gradient[-LAST_STEPS:].nanmean(0).tolist()
    scores = [mean(of_region) for of_region in dice]
    return {
        "dice": scores,
        "gradient_at_end": at_end,
        "saturated_at_start": saturated[0].tolist(),
        "saturated_at_end": saturated[-LAST_STEPS:].mean(0).tolist(),
        "largest_logit_at_start": largest[0].tolist(),
        "largest_logit": largest.amax(0).tolist(),
        "dead": [g < NO_GRADIENT and d < NO_DICE for g, d in zip(at_end, scores, strict=True)],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3], help="initial learning rates")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each rate")
    parser.add_argument("--base", type=int, default=4, help="features of the first stage")
    parser.add_argument("--steps", type=int, default=150, help="training steps of batch 2")
    parser.add_argument(
        "--output", type=Path, required=True, help="JSON file for the results; continued where it exists"
    )
    arguments = parser.parse_args()
    settings = {k: v for k, v in vars(arguments).items() if k in ("base", "steps")}
    report: dict[str, Any] = {"settings": settings, "environment": environment(torch.device("cpu")), "rows": []}
    if arguments.output.exists():
        report = json.loads(arguments.output.read_text())
        if report["settings"] != settings:
            raise SystemExit(f"{arguments.output} holds results of other settings: {report['settings']}")
    for seed, rate, (trainer_class, changed, weights) in product(
        range(arguments.seeds), arguments.rates, METHODS[arguments.method]
    ):
        row = {"trainer": trainer_class.__name__, "settings": changed | {"initial_lr": rate}, "weights": weights}
        row["seed"] = seed
        if any(row.items() <= done.items() for done in report["rows"]):
            continue
        case = Case(
            patch_size=(SIDE,) * 3,
            base=arguments.base,
            regions=True,
            strides=((1,) * 3, (2,) * 3, (2,) * 3, (2,) * 3),
            kernel_sizes=((3,) * 3,) * 4,
            settings=row["settings"],
        )
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            trainer = make_trainer(trainer_class, case, Path(folder))
        if weights == "he":
            trainer.network.apply(InitWeights_He(0.0))
        report["rows"].append(row | train(trainer, arguments.steps, seed))
        print(json.dumps(report["rows"][-1]), flush=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
