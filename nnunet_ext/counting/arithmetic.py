"""Counted arithmetic: multiplications and additions while a function runs, on tensors with or without data."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def operation_counter() -> FlopCounterMode:
    """Context whose ``get_total_flops()`` is the arithmetic of convolutions and matrix products, both passes.

    PyTorch's counter takes the weights' gradient of a grouped convolution for that of a full one, which makes that of
    a depthwise convolution of C channels C times too expensive. Recurrent layers are not counted.
    """
    backward = {torch.ops.aten.convolution_backward: _convolution_backward}
    return FlopCounterMode(display=False, custom_mapping=backward)


def _convolution_backward(gradient: Any, images: Any, weight: Any, *arguments: Any, **_: Any) -> int:
    """Operations of a convolution's gradients: each that is wanted takes as much as the forward pass."""
    transposed, wanted = arguments[4], arguments[7]
    return sum(wanted[:2]) * conv_flop_count(images, weight, gradient, transposed)
