"""How often the gate empties other slices than the paper's order, which averages everything and applies it once.

The numbers are random: slice and voxel logits have a part common to all passes, one of each fold and one of each
mirrored pass. Each row is an order and a rule of the gate: in each pass by the first rule, as in models whose plans
name no ``mirror_axes``; behind the mean of a fold's mirrored passes by the first rule; and the same by today's rule,
which is what a new model does.

    python benchmarks/gate_order.py
"""

import argparse
from typing import NamedTuple

import torch
from torch import Tensor

from nnunet_ext.architectures.slice_classifier import FIRST_RULE, TODAYS_RULE, GateRule, gate_logits

MIRRORED, VOXELS = 8, 100


class Agreement(NamedTuple):
    """Percentages of slices.

    Attributes:
        stay: Of those that the paper's order empties, those that keep a voxel.
        vanish: Of those in which the paper's order leaves a voxel, those without one.
    """

    stay: float
    vanish: float


def random_logits(slices: int, folds: int, spread: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Voxel logits ``(folds, passes, slices, voxels)`` and slice logits ``(folds, passes, slices)``.

    Args:
        slices: Number of slices.
        folds: Number of models.
        spread: Standard deviation between folds, and of passes of a fold, in that between slices.
        generator: Source of the numbers.
    """

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    common = 5 * drawn(1, 1, slices)
    slice_logits = common + 5 * spread * (drawn(folds, 1, slices) + drawn(folds, MIRRORED, slices))
    voxels = 3 * drawn(1, 1, slices, VOXELS)
    voxels = voxels + 3 * spread * (drawn(folds, 1, slices, VOXELS) + drawn(folds, MIRRORED, slices, VOXELS))
    return voxels, slice_logits


def gated(voxels: Tensor, slice_logits: Tensor, rule: GateRule) -> Tensor:
    """The gate of each fold and pass, as the network applies it."""
    folds, passes, slices, number = voxels.shape
    logits = voxels.reshape(folds * passes, 1, slices, number)
    result = gate_logits(logits, slice_logits.reshape(folds * passes, 1, slices), slice_axis=0, regions=True, rule=rule)
    return result.reshape(voxels.shape)


def compare(voxels: Tensor, slice_logits: Tensor) -> dict[str, Agreement]:
    """Each order against the paper's."""
    mean_voxels, mean_slices = voxels.mean(1, keepdim=True), slice_logits.mean(1, keepdim=True)
    orders = {
        "in each pass, first rule": gated(voxels, slice_logits, FIRST_RULE).mean((0, 1)),
        "behind mirrored passes, first rule": gated(mean_voxels, mean_slices, FIRST_RULE).mean((0, 1)),
        "behind mirrored passes, today's rule": gated(mean_voxels, mean_slices, TODAYS_RULE).mean((0, 1)),
    }
    predicted = (voxels.mean((0, 1)) > 0).any(1)
    kept = predicted & (slice_logits.mean((0, 1)) > 0)
    emptied = predicted & ~kept
    agreements = {}
    for name, logits in orders.items():
        any_voxel = (logits > 0).any(1)
        agreements[name] = Agreement(
            100 * (any_voxel & emptied).sum().item() / emptied.sum().item(),
            100 * (~any_voxel & kept).sum().item() / kept.sum().item(),
        )
    return agreements


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=5000)
    slices = parser.parse_args().slices
    print("| folds | spread | gate | emptied slices that stay, % | kept slices that vanish, % |")
    print("|---|---|---|---|---|")
    for folds in (1, 5):
        for spread in (0.2, 0.5, 1.0):
            logits = random_logits(slices, folds, spread, torch.Generator().manual_seed(0))
            for name, agreement in compare(*logits).items():
                print(f"| {folds} | {spread} | {name} | {agreement.stay:.1f} | {agreement.vanish:.1f} |")


if __name__ == "__main__":
    main()
