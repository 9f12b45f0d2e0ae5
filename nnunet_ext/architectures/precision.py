"""The precision of what autocast must not touch: sums over a patch, and losses."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 stay, the latter so that gradients can be checked numerically."""
    return values.to(precise_type(values))


def precise_type(values: Tensor) -> torch.dtype:
    """Type of ``at_least_float32``, for operators that convert while they compute."""
    return torch.promote_types(values.dtype, torch.float32)
