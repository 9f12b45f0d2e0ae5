"""Group normalization with nnU-Net's calling convention for norms, in the precision of its input."""

from math import gcd

import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.architectures.without_autocast import without_autocast


class GroupNorm(nn.GroupNorm):
    """Group normalization that takes the number of channels first, as nnU-Net's plans call their ``norm_op``.

    Autocast would run it in float32 and hand float32 to every later map. PyTorch's kernel computes mean and variance of
    half-precision input in float32 anyway, so only memory and traffic are saved.

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
        with without_autocast(x.device):
            weight = self.weight.to(x.dtype) if self.affine else None
            bias = self.bias.to(x.dtype) if self.affine else None
            return F.group_norm(x, self.num_groups, weight, bias, self.eps)
