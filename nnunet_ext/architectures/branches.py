"""Convolutions of parallel branches whose features lie side by side in one tensor, ``[A, B, ...]`` along channels.

A layer in which every branch sees every branch is one ordinary convolution on that tensor: the same numbers as one
convolution a branch, in one large kernel and without concatenation. The modules here are the layers that keep the
branches apart.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BranchInputConv(nn.Module):
    """First layer: each branch convolves its own input channels only.

    Groups may differ in size and may share channels (the cascade's one-hot channels belong to every branch), so a
    block-structured weight is assembled from one kernel a branch and applied in a single convolution. Its zeros cost
    next to nothing, since there are only a few input channels.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        input_channels: Channels of the network's input.
        channel_groups: Input channel indices of each branch.
        features: Output channels of one branch.
        kernel_size: Odd kernel size an axis, in voxels.
        stride: Stride an axis, in voxels.
        bias: Whether the convolution has a bias.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        input_channels: int,
        channel_groups: Sequence[Sequence[int]],
        features: int,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        bias: bool,
    ):
        super().__init__()
        self.input_channels = input_channels
        self.bias = bias
        self.stride = list(stride)
        self.padding = [(size - 1) // 2 for size in kernel_size]
        self.convs = nn.ModuleList(
            conv_op(len(group), features, kernel_size=kernel_size, stride=stride, padding=self.padding, bias=bias)
            for group in channel_groups
        )
        for branch, group in enumerate(channel_groups):
            # a buffer, so that no index is copied to the GPU in a step; not persistent, since the plans hold the groups
            self.register_buffer(f"channels_{branch}", torch.tensor(list(group)), persistent=False)
        self.convolution = F.conv2d if conv_op is nn.Conv2d else F.conv3d

    def forward(self, x: Tensor) -> Tensor:
        """``(B, input_channels, *spatial)`` to ``(B, branches * features, *spatial)``."""
        rows = []
        for branch, conv in enumerate(self.convs):
            weight = conv.get_parameter("weight")
            row = weight.new_zeros(weight.shape[0], self.input_channels, *weight.shape[2:])
            rows.append(row.index_copy(1, self.get_buffer(f"channels_{branch}"), weight))
        bias = torch.cat([conv.get_parameter("bias") for conv in self.convs]) if self.bias else None
        return self.convolution(x, torch.cat(rows), bias, self.stride, self.padding)


class BranchwiseConv(nn.Module):
    """One convolution a branch, each on its own part of the channels: branches do not mix.

    Args:
        num_branches: Number of branches.
        make_conv: Returns the convolution (or transposed convolution) of one branch.
    """

    def __init__(self, num_branches: int, make_conv: Callable[[], nn.Module]):
        super().__init__()
        self.convs = nn.ModuleList(make_conv() for _ in range(num_branches))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, branches * in, *spatial)`` to ``(B, branches * out, *spatial)``."""
        parts = x.chunk(len(self.convs), dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)
