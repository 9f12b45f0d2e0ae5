"""Group normalization with nnU-Net's calling convention for norms."""

from math import gcd

from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """Group normalization that takes the number of channels first, as nnU-Net's plans call their ``norm_op``.

    Args:
        num_channels: Channels of the input.
        num_groups: Groups wanted. Where the channels are not divisible by it, their greatest common divisor is used, so
            that narrow networks work too.
        eps: Added to the variance.
        affine: Whether each channel has a learned scale and shift.
    """

    def __init__(self, num_channels: int, num_groups: int = 8, eps: float = 1e-5, affine: bool = True):
        super().__init__(gcd(num_groups, num_channels), num_channels, eps, affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(B, C, *spatial)``; the result has the dtype of the input."""
        # Autocast computes group norm in float32. Without the cast every later map would stay in float32 too.
        return super().forward(x).to(x.dtype)
