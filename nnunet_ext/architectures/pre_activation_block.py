"""Blocks of Myronenko's network: pre-activation residual block with group normalization, and linear upsizing."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.architectures.group_norm import GroupNorm


class GroupNormReLU(GroupNorm):
    """Group normalization followed by ReLU, in the precision of its input.

    Args:
        num_groups: Number of groups; where it does not divide the features (narrow networks), the greatest common
            divisor of both.
        features: Channels of the input.
    """

    def __init__(self, num_groups: int, features: int):
        super().__init__(features, num_groups)

    def forward(self, x: Tensor) -> Tensor:
        """Normalized and rectified ``(B, features, *spatial)``."""
        return F.relu_(super().forward(x))


class PreActivationBlock(nn.Module):
    """``x + conv(relu(gn(conv(relu(gn(x))))))``: Myronenko's "GN, ReLU, Conv, GN, ReLU, Conv, AddId" (Table 1).

    Args:
        conv_op: Convolution class of the wanted dimension.
        features: Channels of input and output.
        kernel_size: Odd kernel size for each axis.
        conv_bias: Whether the convolutions have a bias.
        num_groups: See :class:`GroupNormReLU`.
    """

    def __init__(
        self, conv_op: type[nn.Module], features: int, kernel_size: Sequence[int], conv_bias: bool, num_groups: int
    ):
        super().__init__()
        self.norm1 = GroupNormReLU(num_groups, features)
        self.conv1 = same_conv(
            conv_op, features, output_channels=features, kernel_size=kernel_size, stride=1, bias=conv_bias
        )
        self.norm2 = GroupNormReLU(num_groups, features)
        self.conv2 = same_conv(
            conv_op, features, output_channels=features, kernel_size=kernel_size, stride=1, bias=conv_bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, *spatial)`` of the same size."""
        # In place: a convolution does not need its output for the gradient, and full-size maps are the memory peak.
        return self.conv2(self.norm2(self.conv1(self.norm1(x)))).add_(x)


class LinearUpsizing(nn.Module):
    """1x1x1 convolution, then linear upsampling to a given size ("Conv1, UpLinear").

    Args:
        conv_op: Convolution class of the wanted dimension.
        input_channels: Channels of the input.
        output_channels: Channels of the output.
        conv_bias: Whether the convolution has a bias.
    """

    def __init__(self, conv_op: type[nn.Module], input_channels: int, output_channels: int, conv_bias: bool):
        super().__init__()
        self.conv = conv_op(input_channels, output_channels, 1, bias=conv_bias)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """``(B, output_channels, *size)``."""
        x = self.conv(x)
        if tuple(x.shape[2:]) == tuple(size):
            return x
        return F.interpolate(x, size=list(size), mode="trilinear" if x.ndim == 5 else "bilinear", align_corners=False)


def same_conv(
    conv_op: type[nn.Module],
    input_channels: int,
    output_channels: int,
    kernel_size: Sequence[int],
    stride: int | Sequence[int],
    bias: bool,
) -> nn.Module:
    """Convolution whose output has ``ceil(size / stride)`` voxels along each axis, for odd kernel sizes."""
    padding = [(size - 1) // 2 for size in kernel_size]
    return conv_op(input_channels, output_channels, kernel_size, stride, padding=padding, bias=bias)
