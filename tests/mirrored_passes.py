"""Prediction of the slice networks written out: every mirrored pass one by one, then the gate."""

from itertools import product

import torch
from torch import Tensor


def passes_mirrored_by_hand(network, x: Tensor, slice_axis: int | None) -> tuple[Tensor, Tensor]:
    """Mean ungated logits and mean slice logits of a network over all mirrored passes, each flipped back."""
    gate, network.gate_slices = network.gate_slices, False
    logits, slice_logits = [], []
    handle = network.classifier.register_forward_hook(lambda module, inputs, output: slice_logits.append(output))
    for flips in product([False, True], repeat=x.ndim - 2):
        axes = [2 + axis for axis, flipped in enumerate(flips) if flipped]
        with network.one_classified_pass():
            logits.append(network(x.flip(axes)).flip(axes))
        if slice_axis is not None and flips[slice_axis]:
            slice_logits[-1] = slice_logits[-1].flip(2)
    handle.remove()
    network.gate_slices = gate
    return torch.stack(logits).mean(0), torch.stack(slice_logits).mean(0)


def gated_regions(logits: Tensor, slice_logits: Tensor, slice_axis: int | None) -> Tensor:
    """``min(z, s)`` with s not below -10."""
    along = [1 if axis != slice_axis else -1 for axis in range(logits.ndim - 2)]
    s = slice_logits.clamp(min=-10).reshape(*slice_logits.shape[:2], *along)
    return torch.minimum(logits, s)
