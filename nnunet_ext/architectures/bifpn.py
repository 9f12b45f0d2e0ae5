"""Segmentation network with a bidirectional feature pyramid (BiFPN), with or without the slice classifier.

Papers: Nguyen et al., "Enhancing MRI Brain Tumor Segmentation with an Additional Classification Network", BraTS 2020,
Sec. 2.1; Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019 (decoder). Written from the papers; there is
no public code of the first.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import Tensor, nn

from nnunet_ext.architectures.bifpn_layer import BiFPNLayer
from nnunet_ext.architectures.slice_classifier import SliceClassifier
from nnunet_ext.architectures.slice_network import SliceNetwork, common_options

BIFPN_SCALES = 4  # Table 1
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}  # dimensions of a batch -> interpolation
CONVOLUTION = {4: F.conv2d, 5: F.conv3d}


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """``(B, C, *spatial)`` to ``(B, C, *size)`` by linear interpolation."""
    return x if x.shape[2:] == torch.Size(size) else F.interpolate(x, size, mode=LINEAR[x.ndim])


class EncoderBlock(nn.Module):
    """``(conv stride s, norm, dropout, ReLU, conv, norm, dropout, ReLU) + conv stride s``: a row of Table 1.

    Args:
        input_channels: Channels of the input.
        output_channels: Channels of the result.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_size: Kernel of the three convolutions.
        stride: Stride of the first and the residual convolution.
        conv_bias: Whether convolutions have biases.
        norm_op: Norm, called with the number of channels and ``norm_op_kwargs``.
        norm_op_kwargs: See ``norm_op``.
        dropout_op: Dropout, called with ``dropout_op_kwargs``; None for none.
        dropout_op_kwargs: See ``dropout_op``.
        nonlin: Non-linearity, called with ``nonlin_kwargs``.
        nonlin_kwargs: See ``nonlin``.
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        conv_op: type[nn.Module],
        kernel_size: Sequence[int],
        stride: Sequence[int],
        conv_bias: bool,
        norm_op: type[nn.Module] | None,
        norm_op_kwargs: dict[str, Any] | None,
        dropout_op: type[nn.Module] | None,
        dropout_op_kwargs: dict[str, Any] | None,
        nonlin: type[nn.Module],
        nonlin_kwargs: dict[str, Any] | None,
    ):
        super().__init__()
        padding = [(size - 1) // 2 for size in kernel_size]
        # nnU-Net's own block has dropout before the norm, where Table 1 has it behind.
        layers: list[nn.Module] = []
        for channels, step in ((input_channels, stride), (output_channels, 1)):
            layers.append(
                conv_op(
                    channels, output_channels, kernel_size=kernel_size, stride=step, padding=padding, bias=conv_bias
                )
            )
            if norm_op is not None:
                layers.append(norm_op(output_channels, **(norm_op_kwargs or {})))
            if dropout_op is not None:
                layers.append(dropout_op(**(dropout_op_kwargs or {})))
            layers.append(nonlin(**(nonlin_kwargs or {})))
        self.layers = nn.Sequential(*layers)
        self.residual = conv_op(
            input_channels, output_channels, kernel_size=kernel_size, stride=stride, padding=padding, bias=conv_bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, input_channels, *spatial)`` to ``(B, output_channels, *spatial / stride)``."""
        return self.layers(x) + self.residual(x)


class DecoderBranch(nn.Module):
    """Brings one level of the pyramid to the finest but one scale: a convolution block for each, upsampling in between.

    The last upsampling, from there to the finest scale, is left to the network, which does it for all branches at once.
    The finest level has one block and stays where it is: the paper leaves this open, panoptic FPN (Fig. 5) has one.

    Args:
        level: Level of the pyramid, 0 the finest.
        features: Channels of input and result.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: Kernel of each scale, finest first.
        **options: ``conv_bias``, ``norm_op``, ... of the blocks.
    """

    def __init__(
        self,
        level: int,
        features: int,
        conv_op: type[nn.Module],
        kernel_sizes: Sequence[Sequence[int]],
        **options: Any,
    ):
        super().__init__()
        self.scales = range(level, 0, -1) if level > 0 else range(1)
        self.blocks = nn.ModuleList(
            ConvDropoutNormReLU(
                conv_op, features, output_channels=features, kernel_size=kernel_sizes[scale], stride=1, **options
            )
            for scale in self.scales
        )

    def forward(self, x: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """``(B, features, *sizes[level])`` to ``(B, features, *sizes[min(level, 1)])``; sizes of all levels."""
        for scale, block in zip(self.scales, self.blocks, strict=True):
            x = block(resized(x, sizes[scale]))
        return x


class BiFPNet(SliceNetwork):
    """Residual encoder, BiFPN layers, panoptic decoder, and a slice classifier on the decoder's features.

    Stages are the encoder's scales: unlike nnU-Net's networks this one computes nothing at full resolution, so its
    first stride is not 1.

    Args:
        input_channels: Channels of the input.
        n_stages: Scales; 4 in Table 1.
        features_per_stage: Features of each scale; 16, 32, 64, 128 in Table 1.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: Kernel of each scale.
        strides: Stride of each scale, the first that from the input image; 2 in Table 1.
        num_classes: Channels of the logits.
        regions: Whether these are regions, or classes with the background first.
        slice_axis: Spatial axis of the slices; None where the input is one slice (2d).
        slice_classifier: Whether the network has the classification branch.
        gate_slices: See :class:`SliceNetwork`.
        mirror_axes: See :class:`SliceNetwork`.
        pyramid_features: Features of BiFPN layers and decoder; None is 16 times the first scale's (256 in Sec. 2.1).
        n_pyramid_layers: BiFPN layers; 3 in Sec. 2.1.
        classifier_features: See :class:`SliceClassifier`; None is twice the pyramid's (512 in Table 2).
        lstm_layers: 2 in Table 2.
        lstm_dropout: See :class:`SliceClassifier`.
        conv_bias: Whether convolutions have biases.
        norm_op: Norm, called with the number of channels and ``norm_op_kwargs``.
        norm_op_kwargs: See ``norm_op``.
        dropout_op: Dropout of the encoder; rate not stated.
        dropout_op_kwargs: See ``dropout_op``.
        nonlin: Non-linearity; ReLU in the paper.
        nonlin_kwargs: See ``nonlin``.
        deep_supervision: Only False: the network has one segmentation output.

    Raises:
        ValueError: ``deep_supervision`` is True.
    """

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        num_classes: int,
        regions: bool,
        slice_axis: int | None,
        slice_classifier: bool = True,
        gate_slices: bool = True,
        mirror_axes: Sequence[int] | None = None,
        pyramid_features: int | None = None,
        n_pyramid_layers: int = 3,
        classifier_features: int | None = None,
        lstm_layers: int = 2,
        lstm_dropout: float = 0.2,
        conv_bias: bool = True,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] = nn.ReLU,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
    ):
        super().__init__(
            input_channels,
            regions=regions,
            slice_axis=slice_axis,
            gate_slices=gate_slices,
            mirror_axes=mirror_axes,
            deep_supervision=deep_supervision,
        )
        options: dict[str, Any] = {
            "conv_bias": conv_bias,
            "norm_op": norm_op,
            "norm_op_kwargs": norm_op_kwargs,
            "nonlin": nonlin,
            "nonlin_kwargs": nonlin_kwargs,
        }
        dropout: dict[str, Any] = {"dropout_op": dropout_op, "dropout_op_kwargs": dropout_op_kwargs}
        width = pyramid_features or 16 * features_per_stage[0]
        self.encoder = nn.ModuleList(
            EncoderBlock(before, after, conv_op=conv_op, kernel_size=kernel_size, stride=stride, **dropout, **options)
            for before, after, kernel_size, stride in zip(
                [input_channels, *features_per_stage[:-1]], features_per_stage, kernel_sizes, strides, strict=True
            )
        )
        self.lateral = nn.ModuleList(
            ConvDropoutNormReLU(
                conv_op,
                features,
                output_channels=width,
                kernel_size=1,
                stride=1,
                conv_bias=conv_bias,
                norm_op=norm_op,
                norm_op_kwargs=norm_op_kwargs,
            )
            for features in features_per_stage
        )
        self.pyramid = nn.Sequential(
            *[
                BiFPNLayer(n_stages, width, conv_op=conv_op, kernel_sizes=kernel_sizes, strides=strides, **options)
                for _ in range(n_pyramid_layers)
            ]
        )
        self.decoder = nn.ModuleList(
            DecoderBranch(level, width, conv_op, kernel_sizes, **options) for level in range(n_stages)
        )
        self.head = conv_op(n_stages * width, num_classes, 1)
        self.classifier = None
        if slice_classifier:
            self.classifier = SliceClassifier(
                n_stages * width,
                classifier_features or 2 * width,
                num_classes=num_classes if regions else num_classes - 1,
                conv_op=conv_op,
                kernel_size=kernel_sizes[0],
                slice_axis=slice_axis,
                slice_stride=1 if slice_axis is None else strides[0][slice_axis],
                lstm_layers=lstm_layers,
                lstm_dropout=lstm_dropout,
                **options,
            )

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The plans' scales below full resolution, at most four, with widths that double from half of the plans'."""
        scales = min(BIFPN_SCALES, arch_kwargs["n_stages"] - 1)
        if scales < 1:
            raise ValueError("BiFPN works below full resolution and needs plans with at least two stages.")
        # nothing is computed at the plans' first stage, so its stride, 1 in nnU-Net's plans, goes into the next
        strides = [list(stride) for stride in arch_kwargs["strides"][1 : scales + 1]]
        strides[0] = [a * b for a, b in zip(arch_kwargs["strides"][0], strides[0], strict=True)]
        narrowest = max(arch_kwargs["features_per_stage"][0] // 2, 1)
        return {
            "n_stages": scales,
            "features_per_stage": [narrowest * 2**scale for scale in range(scales)],
            "conv_op": arch_kwargs["conv_op"],
            "kernel_sizes": arch_kwargs["kernel_sizes"][1 : scales + 1],
            "strides": strides,
            **common_options("torch.nn.Dropout"),
        }

    def encoder_features(self, x: Tensor) -> list[Tensor]:
        """Table 1's maps, ``(B, features_per_stage[i], *spatial)``, finest first."""
        maps = []
        for block in self.encoder:
            x = block(x)
            maps.append(x)
        return maps

    def head_features(self, x: Tensor) -> list[Tensor]:
        """The decoder's features of each level before the last upsampling, which takes all of them to the finest scale.

        Concatenated at the finest scale they are ``(B, n_stages * pyramid_features, *spatial / stride)``.
        """
        maps = [lateral(level) for lateral, level in zip(self.lateral, self.encoder_features(x), strict=True)]
        sizes = [level.shape[2:] for level in maps]
        branches = zip(self.decoder, self.pyramid(maps), strict=True)
        return [branch(level, sizes) for branch, level in branches]

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """All features at the finest scale."""
        return torch.cat([resized(level, features[0].shape[2:]) for level in features], 1)

    def final_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """The head on the concatenated features, at the finest scale, then at the input's size.

        It is a 1x1 convolution, which commutes with linear interpolation and splits into a sum over the maps: so a few
        logits are interpolated in place of all features, which need not be concatenated for it either.
        """
        convolution, finest_size = CONVOLUTION[features[0].ndim], features[0].shape[2:]
        finest, *coarser = self.head.get_parameter("weight").chunk(len(features), 1)
        logits = convolution(features[0], finest, self.head.get_parameter("bias"))
        for level, weight in zip(features[1:], coarser, strict=True):
            logits = logits + resized(convolution(level, weight), finest_size)
        return resized(logits, size)
