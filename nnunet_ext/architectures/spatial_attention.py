"""Spatial attention block of attention fusion: one heat map over the positions of a feature map.

Written from the paper: Li et al., Learning Cross-Modal Deep Representations for Multi-Modal MR Image Segmentation,
MICCAI 2019, Fig. 3b.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """Heat map in (0, 1) from the features of one stream.

    1x1 convolution ``n -> n / r``, two dilated convolutions, 1x1 convolution to one channel, sigmoid. The first three
    are followed by norm and activation. The last is not: with that, the parameter counts are those of Table 1, and an
    instance norm would give every map the same mean, whether there is anything to see or not.

    Args:
        conv_op: Convolution of the network's dimension.
        channels: Feature channels n of the stream.
        kernel_size: Kernel of the dilated convolutions, one odd number an axis; 3 an axis in the paper (Fig. 3b). An
            axis of 1 (anisotropic plans) stays 1.
        reduction: Reduction factor r (Sec. 2, Implementation Details: 16). Fewer than r channels reduce to 1.
        dilation: Dilation d in voxels of the feature map (Sec. 2, Implementation Details: 4).
        conv_bias: Whether convolutions have a bias.
        norm_op: Norm after a convolution, or None.
        norm_op_kwargs: Its arguments.
        nonlin: Activation after the norm, or None.
        nonlin_kwargs: Its arguments.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        channels: int,
        kernel_size: Sequence[int],
        reduction: int = 16,
        dilation: int = 4,
        conv_bias: bool = True,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
    ):
        super().__init__()
        reduced = max(1, channels // reduction)
        point, padding = [1] * len(kernel_size), [dilation * (size - 1) // 2 for size in kernel_size]

        def after_convolution() -> list[nn.Module]:
            modules = [] if norm_op is None else [norm_op(reduced, **(norm_op_kwargs or {}))]
            return modules if nonlin is None else [*modules, nonlin(**(nonlin_kwargs or {}))]

        self.layers = nn.Sequential(
            conv_op(channels, reduced, point, bias=conv_bias),
            *after_convolution(),
            conv_op(reduced, reduced, list(kernel_size), padding=padding, dilation=dilation, bias=conv_bias),
            *after_convolution(),
            conv_op(reduced, reduced, list(kernel_size), padding=padding, dilation=dilation, bias=conv_bias),
            *after_convolution(),
            conv_op(reduced, 1, point, bias=conv_bias),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Heat map ``(B, 1, *spatial)`` of the features ``(B, channels, *spatial)``."""
        return self.layers(features)
