"""Nested U-Net (UNet++) of Nguyen et al., with or without the slice classifier.

Papers: Nguyen et al., "Enhancing MRI Brain Tumor Segmentation with an Additional Classification Network", BraTS 2020,
Sec. 2.2; Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", DLMIA 2018. Written from
the papers.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.helper import get_matching_pool_op
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import Tensor, nn

from nnunet_ext.architectures.slice_classifier import SliceClassifier
from nnunet_ext.architectures.slice_network import SliceNetwork, common_options

NESTED_LEVELS = 5  # Fig. 3; UNet++
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}  # dimensions of a batch -> interpolation


class NestedUNet(SliceNetwork):
    """U-Net with dense skip nodes, one full-resolution head for each depth, and a slice classifier.

    Node ``X(i, j)`` (level i, column j) joins ``X(i, 0..j-1)`` and the upsampled ``X(i+1, j-1)``. Heads sit on
    ``X(0, 1..n_stages-1)``, and the final map is their average.

    Args:
        input_channels: Channels of the input.
        n_stages: Levels; 5 in the paper.
        features_per_stage: Features of each level; 32, 64, 128, 256, 512 in the paper.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: Kernel of each level.
        strides: Pooling before each level; the first is 1.
        num_classes: Channels of the logits.
        regions: Whether these are regions, or classes with the background first.
        slice_axis: Spatial axis of the slices; None where the input is one slice (2d).
        n_conv_per_stage: Convolutions of a node; 2 in the paper.
        slice_classifier: Whether the network has the classification branch.
        gate_slices: See :class:`SliceNetwork`.
        mirror_axes: See :class:`SliceNetwork`.
        classifier_features: See :class:`SliceClassifier`; None is 8 times the first level's (256 in the paper).
        lstm_layers: 3 in Table 3.
        lstm_dropout: See :class:`SliceClassifier`.
        conv_bias: Whether convolutions have biases.
        norm_op: Norm, called with the number of channels and ``norm_op_kwargs``.
        norm_op_kwargs: See ``norm_op``.
        dropout_op: Dropout of the nodes; none in the paper.
        dropout_op_kwargs: See ``dropout_op``.
        nonlin: Non-linearity; ReLU in the paper.
        nonlin_kwargs: See ``nonlin``.
        deep_supervision: Only False: the four heads have full resolution and leave as a list in training mode.

    Raises:
        ValueError: ``deep_supervision`` is True, or there are fewer than two stages.
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
        n_conv_per_stage: int = 2,
        slice_classifier: bool = True,
        gate_slices: bool = True,
        mirror_axes: Sequence[int] | None = None,
        classifier_features: int | None = None,
        lstm_layers: int = 3,
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
        if n_stages < 2:
            raise ValueError(f"NestedUNet needs at least two stages, got {n_stages}.")
        self.n_stages = n_stages
        options: dict[str, Any] = {
            "conv_bias": conv_bias,
            "norm_op": norm_op,
            "norm_op_kwargs": norm_op_kwargs,
            "nonlin": nonlin,
            "nonlin_kwargs": nonlin_kwargs,
        }
        pool_op = get_matching_pool_op(conv_op, pool_type="max")
        self.pools = nn.ModuleList(
            pool_op(list(strides[level]), list(strides[level]), ceil_mode=True) for level in range(1, n_stages)
        )
        node = partial(
            StackedConvBlocks,
            n_conv_per_stage,
            conv_op,
            initial_stride=1,
            dropout_op=dropout_op,
            dropout_op_kwargs=dropout_op_kwargs or {},
            **options,
        )
        self.nodes = nn.ModuleDict()
        for column in range(n_stages):
            for level in range(n_stages - column):
                channels = node_input_channels(level, column, input_channels, features_per_stage)
                self.nodes[_name(level, column)] = node(
                    input_channels=channels, output_channels=features_per_stage[level], kernel_size=kernel_sizes[level]
                )
        self.heads = nn.ModuleList(conv_op(features_per_stage[0], num_classes, 1) for _ in range(n_stages - 1))
        self.classifier = None
        if slice_classifier:
            self.classifier = SliceClassifier(
                (n_stages - 1) * features_per_stage[0],
                classifier_features or 8 * features_per_stage[0],
                num_classes=num_classes if regions else num_classes - 1,
                conv_op=conv_op,
                kernel_size=kernel_sizes[0],
                slice_axis=slice_axis,
                lstm_layers=lstm_layers,
                lstm_dropout=lstm_dropout,
                **options,
            )

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The plans' first stages, at most five, with widths that double from the plans' first without a limit."""
        levels = min(NESTED_LEVELS, arch_kwargs["n_stages"])
        if levels < 2:
            raise ValueError("Nested U-Net needs plans with at least two stages.")
        return {
            "n_stages": levels,
            "features_per_stage": [arch_kwargs["features_per_stage"][0] * 2**level for level in range(levels)],
            "conv_op": arch_kwargs["conv_op"],
            "kernel_sizes": arch_kwargs["kernel_sizes"][:levels],
            "strides": arch_kwargs["strides"][:levels],
            **common_options(None),
        }

    def head_features(self, x: Tensor) -> list[Tensor]:
        """``X(0, 1..n_stages-1)``, each ``(B, features_per_stage[0], *spatial)``."""
        # levels[i] holds X(i, 0..) as far as they are computed.
        levels = [[self.nodes[_name(0, 0)](x)]]
        for level in range(1, self.n_stages):
            levels.append([self.nodes[_name(level, 0)](self.pools[level - 1](levels[-1][0]))])
            for above in reversed(range(level)):
                column = level - above
                skips = levels[above]
                raised = F.interpolate(levels[above + 1][-1], skips[0].shape[2:], mode=LINEAR[x.ndim])
                skips.append(self.nodes[_name(above, column)](torch.cat([*skips, raised], 1)))
        return levels[0][1:]

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """All features, ``(B, (n_stages - 1) * features_per_stage[0], *spatial)``."""
        return torch.cat(list(features), 1)

    def training_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Logits of each head."""
        return [head(node) for head, node in zip(self.heads, features, strict=True)]

    def final_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """The average of the heads' logits."""
        first, *others = self.training_logits(features, size)
        return sum(others, first) / len(features)


def node_input_channels(level: int, column: int, input_channels: int, features_per_stage: Sequence[int]) -> int:
    """Channels that X(level, column) reads: of all earlier nodes of its level and of the raised one."""
    if column > 0:
        return column * features_per_stage[level] + features_per_stage[level + 1]
    return features_per_stage[level - 1] if level else input_channels


def _name(level: int, column: int) -> str:
    return f"x{level}_{column}"
