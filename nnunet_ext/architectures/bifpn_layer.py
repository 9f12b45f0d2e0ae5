"""Bidirectional feature pyramid layer of EfficientDet, in 2d and 3d and for any strides.

Paper: Tan, Pang and Le, "EfficientDet: Scalable and Efficient Object Detection", CVPR 2020, Sec. 3. Written from the
paper; ReLU and group norm in place of swish and batch norm follow Nguyen et al., Sec. 2.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.helper import get_matching_pool_op
from torch import Tensor, nn

EPSILON = 1e-4  # EfficientDet, Sec. 3.3


def fast_normalized_fusion(features: Sequence[Tensor], weights: Tensor, epsilon: float = EPSILON) -> Tensor:
    """``Σ w_i x_i / (ε + Σ w_j)`` with ``w = relu(weights)``: EfficientDet, Sec. 3.3.

    Args:
        features: Maps of the same shape.
        weights: One number a map, of any sign.
        epsilon: Against division by zero.
    """
    weights = F.relu(weights)
    # Normalized before the half-precision maps are touched: a sum of large maps could leave float16's range.
    shares = (weights / (epsilon + weights.sum())).to(features[0].dtype)
    total = shares[0] * features[0]
    for share, feature in zip(shares[1:], features[1:], strict=True):
        total = torch.addcmul(total, share, feature)  # one pass over the maps; a product and a sum are two
    return total


class FusionNode(nn.Module):
    """Fuses maps of one size: weighted sum, non-linearity, depthwise and pointwise convolution, norm.

    Args:
        n_inputs: Maps to fuse.
        features: Channels of each map and of the result.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_size: Kernel of the depthwise convolution.
        conv_bias: Whether the pointwise convolution has a bias.
        norm_op: Norm, called with the number of channels and ``norm_op_kwargs``.
        norm_op_kwargs: See ``norm_op``.
        nonlin: Non-linearity, called with ``nonlin_kwargs``.
        nonlin_kwargs: See ``nonlin``.
    """

    def __init__(
        self,
        n_inputs: int,
        features: int,
        conv_op: type[nn.Module],
        kernel_size: Sequence[int],
        conv_bias: bool,
        norm_op: type[nn.Module] | None,
        norm_op_kwargs: dict[str, Any] | None,
        nonlin: type[nn.Module],
        nonlin_kwargs: dict[str, Any] | None,
    ):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(n_inputs))
        padding = [(size - 1) // 2 for size in kernel_size]
        self.conv = nn.Sequential(
            nonlin(**(nonlin_kwargs or {})),
            conv_op(features, features, kernel_size, padding=padding, groups=features, bias=False),
            conv_op(features, features, 1, bias=conv_bias),
            norm_op(features, **(norm_op_kwargs or {})) if norm_op is not None else nn.Identity(),
        )

    def forward(self, *maps: Tensor) -> Tensor:
        """Fused map of the shape of each input, ``(B, features, *spatial)``."""
        return self.conv(fast_normalized_fusion(maps, self.weights))


class BiFPNLayer(nn.Module):
    """Top-down, then bottom-up fusion of a feature pyramid (EfficientDet, Fig. 2d and Sec. 3.3).

    Maps are raised by nearest neighbours and lowered by max pooling, as EfficientDet does.

    Args:
        n_levels: Levels of the pyramid.
        features: Channels of every level.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: Kernel of each level, finest first.
        strides: Stride between a level and the finer one before it; the first entry is not used.
        **options: ``conv_bias``, ``norm_op``, ... of :class:`FusionNode`.
    """

    def __init__(
        self,
        n_levels: int,
        features: int,
        conv_op: type[nn.Module],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        **options: Any,
    ):
        super().__init__()
        pool_op = get_matching_pool_op(conv_op, pool_type="max")
        self.pools = nn.ModuleList(
            pool_op(list(strides[level]), list(strides[level]), ceil_mode=True) for level in range(1, n_levels)
        )
        # The coarsest level has no coarser one to join on the way down, and is fused on the way up only.
        self.top_down = nn.ModuleList(
            FusionNode(2, features, conv_op, kernel_sizes[level], **options) for level in range(n_levels - 1)
        )
        self.bottom_up = nn.ModuleList(
            FusionNode(3 if level < n_levels - 1 else 2, features, conv_op, kernel_sizes[level], **options)
            for level in range(1, n_levels)
        )

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid of the same shapes; ``(B, features, *spatial)`` a level, finest first."""
        down = [pyramid[-1]]  # coarsest first while it grows
        for level in reversed(range(len(pyramid) - 1)):
            raised = F.interpolate(down[-1], pyramid[level].shape[2:], mode="nearest")
            down.append(self.top_down[level](pyramid[level], raised))
        down.reverse()
        up = [down[0]]
        for level in range(1, len(pyramid)):
            middle = [down[level]] if level < len(pyramid) - 1 else []
            lowered = self.pools[level - 1](up[-1])
            up.append(self.bottom_up[level - 1](pyramid[level], *middle, lowered))
        return up
