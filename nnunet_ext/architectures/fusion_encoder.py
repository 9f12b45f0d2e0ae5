"""Encoder of several streams, one per modality, that are weighted by attention and fused at every level."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_pool_op
from dynamic_network_architectures.building_blocks.residual import StackedResidualBlocks
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import Tensor, nn

from nnunet_ext.architectures.spatial_attention import SpatialAttention
from nnunet_ext.architectures.stream_fusion import FUSION_RULES, Join, join, joined_channels

Attention = Literal["none", "own", "master"]


class FusionLevel(nn.Module):
    """One level: a block of layers a stream, then the heat maps that weight the streams.

    Args:
        blocks: Layers of each stream, the master's first.
        width: Channels that each of them returns.
        conv_op: Convolution of the network's dimension.
        kernel_size: Kernel of the attention blocks, one odd number an axis.
        attention: ``"none"``; ``"own"``: each stream is weighted by its own heat map; ``"master"``: all streams are
            weighted by the master's.
        attention_reduction: Reduction factor of the attention blocks.
        attention_dilation: Dilation of the attention blocks.
        block_kwargs: Bias, norm, dropout and activation, as ``ConvDropoutNormReLU`` takes them.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        width: int,
        conv_op: type[nn.Module],
        kernel_size: Sequence[int],
        attention: Attention,
        attention_reduction: int,
        attention_dilation: int,
        block_kwargs: Mapping[str, Any],
    ):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        # The paper's attention block has no dropout.
        attention_kwargs = {name: value for name, value in block_kwargs.items() if not name.startswith("dropout")}
        n_maps = {"none": 0, "own": len(blocks), "master": 1}[attention]
        self.attentions = nn.ModuleList(
            SpatialAttention(
                conv_op,
                width,
                kernel_size=kernel_size,
                reduction=attention_reduction,
                dilation=attention_dilation,
                **attention_kwargs,
            )
            for _ in range(n_maps)
        )

    def forward(self, inputs: Sequence[Tensor], map_source: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Weighted features of each stream ``(B, width, *spatial)`` and the heat maps ``(B, 1, *spatial)``.

        Args:
            inputs: What each stream's block reads.
            map_source: With ``"master"``: index ``(B,)`` of the stream whose features the heat map of a sample is
                made of; None is the master's.
        """
        streams = [block(x) for block, x in zip(self.blocks, inputs, strict=True)]
        looked_at = streams
        if map_source is not None:
            samples = torch.arange(len(map_source), device=map_source.device)
            looked_at = [torch.stack(streams, 1)[samples, map_source]]
        # The first streams have maps: all with "own", the master alone with "master".
        maps = [attention(stream) for attention, stream in zip(self.attentions, looked_at, strict=False)]
        if not maps:
            return streams, maps
        weights = maps if len(maps) == len(streams) else [maps[0]] * len(streams)
        return [stream * weight for stream, weight in zip(streams, weights, strict=True)], maps


class FusionEncoder(nn.Module):
    """Streams of convolution blocks with max pooling between levels; attention, then fusion, before each pooling.

    With residual blocks each stream is nnU-Net's residual encoder: a convolution as stem, then the blocks of each
    level, whose first one strides in place of the pooling.

    Args:
        stream_channels: Input channels of each stream, the master's first; a channel may be in several streams.
        stream_features: Width of each stream at each level, in channels.
        n_conv_per_stage: Convolutions, or residual blocks, of a stream at each level.
        kernel_sizes: Kernel at each level, one odd number an axis.
        strides: Pooling before each level, one number an axis; the first entry is not used.
        fusion: Name of a rule in :data:`FUSION_RULES`.
        attention: See :class:`FusionLevel`.
        attention_reduction: Reduction factor of the attention blocks.
        attention_dilation: Dilation of the attention blocks.
        conv_op: Convolution of the network's dimension.
        block_kwargs: Bias, norm, dropout and activation, as ``ConvDropoutNormReLU`` takes them.
        residual: Whether ``n_conv_per_stage`` counts residual blocks.

    Attributes:
        output_channels: Channels of the feature map that the decoder reads at each level.
        mapped_streams: Indices of the streams that have heat maps of their own.
    """

    def __init__(
        self,
        stream_channels: Sequence[Sequence[int]],
        stream_features: Sequence[int],
        n_conv_per_stage: Sequence[int],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        fusion: str,
        attention: Attention,
        attention_reduction: int,
        attention_dilation: int,
        conv_op: type[nn.Module],
        block_kwargs: Mapping[str, Any],
        residual: bool = False,
    ):
        super().__init__()
        self.stream_channels = [list(channels) for channels in stream_channels]
        self.rule = FUSION_RULES[fusion]
        n_streams, n_stages = len(stream_channels), len(stream_features)
        read = [len(channels) for channels in stream_channels]
        levels = []
        for index, (width, number, kernel_size) in enumerate(
            zip(stream_features, n_conv_per_stage, kernel_sizes, strict=True)
        ):
            size = {"conv_op": conv_op, "output_channels": width, "kernel_size": list(kernel_size), **block_kwargs}
            if residual:
                blocks = [_residual_block(number, channels, strides[index], index == 0, size) for channels in read]
            else:
                blocks = [
                    StackedConvBlocks(number, input_channels=channels, initial_stride=1, **size) for channels in read
                ]
            level = FusionLevel(
                blocks,
                width,
                conv_op=conv_op,
                kernel_size=kernel_size,
                attention=attention,
                attention_reduction=attention_reduction,
                attention_dilation=attention_dilation,
                block_kwargs=block_kwargs,
            )
            levels.append(level)
            read = [joined_channels(width, n_streams, self.rule.master_reads), *[width] * (n_streams - 1)]
        self.mapped_streams = list(range(len(levels[0].attentions)))
        self.levels = nn.ModuleList(levels)
        pool = get_matching_pool_op(conv_op, pool_type="max")
        # residual blocks stride themselves
        self.pools = nn.ModuleList(
            nn.Identity() if residual else pool(tuple(stride), tuple(stride)) for stride in strides[1:]
        )
        self.decoder_reads: list[Join] = [self.rule.decoder_reads] * (n_stages - 1) + [self.rule.decoder_reads_deepest]
        self.output_channels = [
            joined_channels(width, n_streams, how)
            for width, how in zip(stream_features, self.decoder_reads, strict=True)
        ]

    def forward(self, x: Tensor, map_source: Tensor | None = None) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Features for the decoder and heat maps.

        Args:
            x: Image, ``(B, channels, *spatial)``.
            map_source: See :class:`FusionLevel`.

        Returns:
            Features ``(B, output_channels[level], *spatial)`` of each level, highest resolution first, and the heat
            maps ``(B, 1, *spatial)`` of each level, one for each of ``mapped_streams``.
        """
        inputs = [x[:, channels] for channels in self.stream_channels]
        features: list[Tensor] = []
        all_maps: list[list[Tensor]] = []
        for index, level in enumerate(self.levels):
            if index > 0:
                inputs = [self.pools[index - 1](stream) for stream in inputs]
            streams, maps = level(inputs, map_source)
            joined = join(streams, self.decoder_reads[index])
            features.append(joined)
            all_maps.append(maps)
            same = self.rule.master_reads == self.decoder_reads[index]
            inputs = [joined if same else join(streams, self.rule.master_reads), *streams[1:]]
        return features, all_maps


def _residual_block(
    number: int, input_channels: int, stride: Sequence[int], first: bool, size: dict[str, Any]
) -> nn.Module:
    """A stream's residual blocks at one level, behind nnU-Net's stem at the first."""
    if not first:
        return StackedResidualBlocks(number, input_channels=input_channels, initial_stride=list(stride), **size)
    return nn.Sequential(
        StackedConvBlocks(1, input_channels=input_channels, initial_stride=1, **size),
        StackedResidualBlocks(number, input_channels=size["output_channels"], initial_stride=1, **size),
    )
