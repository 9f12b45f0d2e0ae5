"""Convolutions whose price on a GPU decides how a network is written.

Modality pairing's branches: one convolution with two groups against a convolution a branch. BiFPN's depthwise layers
against full convolutions of the same maps. Forward and backward pass, in turn, in one process.
"""

import statistics
from typing import Any

import torch
from overview import seconds
from torch import Tensor, nn


class Pass:
    """Forward and backward pass of convolutions, each on an input of its own.

    Args:
        name: Name in the table.
        convolutions: The convolutions.
        inputs: One for each, ``(B, C, side, side, side)``.
    """

    def __init__(self, name: str, convolutions: list[nn.Module], inputs: list[Tensor]):
        self.name = name
        self.pairs = list(zip(convolutions, inputs, strict=True))

    def __call__(self) -> None:
        """Run it, in mixed precision on a GPU."""
        for convolution, x in self.pairs:
            with torch.autocast("cuda", enabled=x.is_cuda):
                y = convolution(x)
            y.backward(torch.ones_like(y))


def passes(kind: str, features: int, side: int, device: torch.device) -> list[Pass]:
    """What to compare; the first is the reference.

    Args:
        kind: ``"grouped"``: two branches of ``features`` channels. ``"depthwise"``: one map of ``features`` channels.
        features: Channels.
        side: Voxels along each axis.
        device: Where it runs.
    """

    def image(channels: int) -> Tensor:
        return torch.randn(2, channels, side, side, side, device=device, requires_grad=True)

    def conv(channels: int, groups: int) -> nn.Module:
        return nn.Conv3d(channels, channels, 3, padding=1, groups=groups).to(device)

    if kind == "grouped":
        own = Pass("a convolution a branch", [conv(features, 1) for _ in range(2)], [image(features) for _ in range(2)])
        return [own, Pass("one convolution of two groups", [conv(2 * features, 2)], [image(2 * features)])]
    full = Pass("full convolution", [conv(features, 1)], [image(features)])
    return [full, Pass("depthwise convolution", [conv(features, features)], [image(features)])]


def measure(kind: str, features: int, side: int, device: torch.device, rounds: int) -> list[dict[str, Any]]:
    """A row a way to compute it; ratios are against the first, round by round."""
    compared = passes(kind, features, side, device)
    for one in compared:
        one()
    times = [[seconds(one, device) for one in compared] for _ in range(rounds)]
    return [
        {
            "convolution": one.name,
            "features": features,
            "side": side,
            "median_seconds": statistics.median(row[index] for row in times),
            "time_ratio": statistics.median(row[index] / row[0] for row in times),
        }
        for index, one in enumerate(compared)
    ]
