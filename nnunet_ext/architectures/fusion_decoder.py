"""Decoders of attention fusion and of the systems it is compared with."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, get_matching_convtransp
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU, StackedConvBlocks
from torch import Tensor, nn

Upsampling = Literal["interpolation", "transposed"]


class FusionDecoder(nn.Module):
    """U-Net decoder: upsample, concatenate the skip, convolve.

    Args:
        skip_channels: Channels of the features of each level, highest resolution first.
        features_per_stage: Width of the decoder at each level; the deepest level's is not used.
        n_conv_per_stage: Convolutions after the concatenation at each level but the deepest.
        kernel_sizes: Kernel at each level, one odd number an axis.
        strides: Pooling before each level, one number an axis.
        upsampling: ``"interpolation"``: nearest neighbour, then a convolution to the level's width with norm and
            activation; ``"transposed"``: transposed convolution to the level's width, kernel as stride.
        num_classes: Segmentation channels.
        conv_op: Convolution of the network's dimension.
        block_kwargs: Bias, norm, dropout and activation, as ``ConvDropoutNormReLU`` takes them.
    """

    def __init__(
        self,
        skip_channels: Sequence[int],
        features_per_stage: Sequence[int],
        n_conv_per_stage: Sequence[int],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        upsampling: Upsampling,
        num_classes: int,
        conv_op: type[nn.Module],
        block_kwargs: Mapping[str, Any],
    ):
        super().__init__()
        self.upsampling = upsampling
        upsamplers: list[nn.Module] = []
        blocks: list[nn.Module] = []
        below = skip_channels[-1]
        for level in reversed(range(len(skip_channels) - 1)):
            width, kernel, stride = features_per_stage[level], kernel_sizes[level], strides[level + 1]
            if upsampling == "transposed":
                transposed = get_matching_convtransp(conv_op)
                upsamplers.append(transposed(below, width, stride, stride, bias=block_kwargs["conv_bias"]))
            else:
                upsamplers.append(
                    nn.Sequential(
                        nn.Upsample(scale_factor=tuple(float(factor) for factor in stride), mode="nearest"),
                        ConvDropoutNormReLU(
                            conv_op, below, output_channels=width, kernel_size=kernel, stride=1, **block_kwargs
                        ),
                    )
                )
            skip_and_below = skip_channels[level] + width
            n_convs = n_conv_per_stage[level]
            blocks.append(
                StackedConvBlocks(
                    n_convs,
                    conv_op,
                    input_channels=skip_and_below,
                    output_channels=width,
                    kernel_size=kernel,
                    initial_stride=1,
                    **block_kwargs,
                )
            )
            below = width
        # Both from the deepest level upwards.
        self.upsamplers = nn.ModuleList(upsamplers)
        self.blocks = nn.ModuleList(blocks)
        self.head = conv_op(below, num_classes, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits ``(B, num_classes, *spatial)`` of the features of each level, highest resolution first."""
        x = features[-1]
        for upsample, block, skip in zip(self.upsamplers, self.blocks, reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, upsample(x)], dim=1))
        return self.head(x)


class CoarseHead(nn.Module):
    """FuseNet's row of Table 1 has no parameters left for a decoder: a 1x1 convolution on the deepest features.

    Args:
        channels: Channels of the deepest features.
        num_classes: Segmentation channels.
        conv_op: Convolution of the network's dimension.
    """

    def __init__(self, channels: int, num_classes: int, conv_op: type[nn.Module]):
        super().__init__()
        self.head = conv_op(channels, num_classes, kernel_size=1)
        self.mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[convert_conv_op_to_dim(conv_op)]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the first level, interpolated linearly from the deepest."""
        return F.interpolate(self.head(features[-1]), features[0].shape[2:], mode=self.mode, align_corners=False)
