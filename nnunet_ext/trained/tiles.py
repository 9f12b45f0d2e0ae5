"""A function of tiles, averaged over a volume as nnU-Net averages logits."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nnunet_ext.host.prediction import tile_starts, tile_weight


def mean_over_tiles(function: Callable[[Tensor], Tensor], data: Tensor, patch: tuple[int, ...]) -> Tensor:
    """Average of what a function gives for each tile, with nnU-Net's places and Gaussian weight.

    Args:
        function: From a tile ``(channels, *patch)`` to ``(K, *patch)``.
        data: ``(channels, Z, Y, X)``, at least as large as a tile. A tile of fewer dimensions than the data lies within
            a slice.
        patch: Voxels of a tile.

    Returns:
        ``(K, Z, Y, X)``, float32, on the CPU.
    """
    slices = [[index] for index in range(data.shape[1])] if len(patch) == data.ndim - 2 else [[]]
    steps, gaussian = tile_starts(data.shape[-len(patch) :], patch), tile_weight(patch)
    weight = torch.zeros(data.shape[1:])
    sums: Tensor | None = None
    for index, start in itertools.product(slices, itertools.product(*steps)):
        window: Any = tuple([*index, *(slice(begin, begin + size) for begin, size in zip(start, patch, strict=True))])
        everywhere = (slice(None), *window)
        result = function(data[everywhere]).float().cpu()
        if sums is None:
            sums = torch.zeros(len(result), *data.shape[1:])
        sums[everywhere] += result * gaussian
        weight[window] += gaussian
    assert sums is not None
    return sums / weight
