"""Which modalities a network's input has: a missing one is 0 everywhere, as normalization leaves a missing channel."""

import torch
from torch import Tensor


def present_modalities(x: Tensor, n_modalities: int) -> Tensor:
    """Which modalities each sample has.

    A modality is missing where it is 0 in all voxels of the sample and some other modality is not: a patch beside the
    brain, where all are 0, lacks nothing.

    Args:
        x: Input ``(B, C, *spatial)``, the modalities first.
        n_modalities: Number of modalities.

    Returns:
        Boolean ``(B, n_modalities)``.
    """
    present = (x[:, :n_modalities] != 0).flatten(2).any(2)
    return present | ~present.any(1, keepdim=True)


def first_present(present: Tensor, streams: list[list[int]], order: list[int]) -> Tensor:
    """First stream of an order that has any of its modalities, for each sample.

    Args:
        present: Boolean ``(B, n_modalities)``.
        streams: Modalities of each stream.
        order: Streams in the order in which they are asked.

    Returns:
        Index of a stream ``(B,)``; that of ``order[0]`` where no stream has any.
    """
    has_any = torch.stack([present[:, streams[stream]].any(1) for stream in order], 1)
    return torch.tensor(order, device=present.device)[has_any.int().argmax(1)]
