"""Modality-pairing U-Net.

Wang et al., Modality-Pairing Learning for Brain Tumor Segmentation, BraTS 2020 (second place),
https://doi.org/10.1007/978-3-030-72084-1_21. Written from the paper; no code of the authors is public.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_convtransp, maybe_convert_scalar_to_list
from dynamic_network_architectures.building_blocks.residual import StackedResidualBlocks
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import Tensor, nn

from nnunet_ext.architectures.branch_order import in_order, item_in_order
from nnunet_ext.architectures.branches import BranchInputConv, BranchwiseConv
from nnunet_ext.architectures.method_network import BranchedNetwork
from nnunet_ext.architectures.network_output import NetworkOutput

NEGATIVE_SLOPE = 1e-2  # of the leaky ReLU that nnU-Net initializes for


class PairingOutput(NamedTuple):
    """What the losses between and of the branches need.

    Attributes:
        features: Last feature map of each branch, X^A, X^B, each ``(B, features, *spatial)``.
        branch_logits: Logits of each branch alone, each ``(B, num_classes, *spatial)``; none without branch
            classifiers.
        paired: Samples whose features are compared, boolean ``(B,)``; None: all. The network does not know.
    """

    features: tuple[Tensor, ...]
    branch_logits: tuple[Tensor, ...]
    paired: Tensor | None = None


class ModalityPairingUNet(BranchedNetwork):
    """Parallel U-Nets, one a group of modalities, densely connected to each other.

    Every encoder layer after the first sees all branches (Eq. 2). The first convolution of a decoder block sees its own
    branch from below and the skips of all branches (Eq. 3); upsampling and the block's other convolutions are
    branch-own. The classifiers read the concatenated features of all branches.

    Each branch is as wide as ``features_per_stage`` says. Inside, the features of all branches are one tensor,
    ``[A, B, ...]`` along channels, so a layer that sees all branches is one convolution.

    With ``n_blocks_per_stage`` in place of ``n_conv_per_stage`` the encoder is nnU-Net's residual encoder: the stem is
    branch-own, and every residual block takes the joint tensor. Its convolutions, that of a projecting skip included,
    see all branches; an identity skip keeps each branch its own features.

    Args:
        input_channels: Channels of the input: the modalities, then, in a cascade, the one-hot channels.
        n_stages: Number of resolutions.
        features_per_stage: Features of one branch at each resolution.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: Kernel size of each stage, in voxels.
        strides: Stride into each stage, in voxels; the first is usually 1.
        num_classes: Number of logits.
        n_conv_per_stage_decoder: Convolutions of each decoder stage; 2 in the paper.
        modality_groups: Channel indices of each branch, in the order of the branches. Channels in no group (the
            cascade's one-hot channels) belong to every branch.
        n_conv_per_stage: Convolutions of each encoder stage; 2 in the paper.
        n_blocks_per_stage: Residual blocks of each encoder stage; not stated: our choice, for nnU-Net's residual
            encoders.
        branch_classifiers: Whether each branch has a classifier of its own last feature map, for training alone.
        conv_bias: Whether convolutions have a bias.
        norm_op: Normalization, per channel or None; the paper's is ``nn.InstanceNorm3d``.
        norm_op_kwargs: Its arguments.
        dropout_op: Dropout in every block, or None.
        dropout_op_kwargs: Its arguments.
        nonlin: Activation; the paper's is ``nn.LeakyReLU``.
        nonlin_kwargs: Its arguments.
        deep_supervision: Whether logits are a list, highest resolution first.
        inference_only: Leave the branches' classifiers out.

    Raises:
        ValueError: Fewer than two groups, an empty group, an index out of range, or a channel in two groups; both or
            neither of ``n_conv_per_stage`` and ``n_blocks_per_stage``.
    """

    # Submodules without which predictions are the same. `inference_only=True` builds the network without them.
    training_only: ClassVar[tuple[str, ...]] = ("branch_classifiers",)
    has_deep_supervision = True
    negative_slope = NEGATIVE_SLOPE
    has_master = False

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: int | Sequence[int] | Sequence[Sequence[int]],
        strides: int | Sequence[int] | Sequence[Sequence[int]],
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        modality_groups: Sequence[Sequence[int]],
        n_conv_per_stage: int | Sequence[int] | None = None,
        n_blocks_per_stage: int | Sequence[int] | None = None,
        branch_classifiers: bool = False,
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
        inference_only: bool = False,
    ):
        super().__init__(input_channels, deep_supervision)
        check_groups(modality_groups, input_channels)
        if (n_conv_per_stage is None) == (n_blocks_per_stage is None):
            raise ValueError("Stages have either n_conv_per_stage convolutions or n_blocks_per_stage residual blocks.")
        self.branches = [list(group) for group in modality_groups]
        self.num_branches = branches = len(modality_groups)
        shared = [c for c in range(input_channels) if not any(c in group for group in modality_groups)]
        features = _per_stage(features_per_stage, n_stages)
        joint = [branches * width for width in features]
        kernels = [maybe_convert_scalar_to_list(conv_op, size) for size in _per_stage(kernel_sizes, n_stages)]
        stride = [maybe_convert_scalar_to_list(conv_op, step) for step in _per_stage(strides, n_stages)]
        decoder_convs = _per_stage(n_conv_per_stage_decoder, n_stages - 1)
        block = {
            "conv_op": conv_op,
            "conv_bias": conv_bias,
            "norm_op": norm_op,
            "norm_op_kwargs": norm_op_kwargs,
            "dropout_op": dropout_op,
            "dropout_op_kwargs": dropout_op_kwargs or {},
            "nonlin": nonlin,
            "nonlin_kwargs": nonlin_kwargs,
        }
        self.channels_of_branches = [[*group, *shared] for group in modality_groups]
        first = BranchInputConv(
            conv_op,
            input_channels,
            channel_groups=self.channels_of_branches,
            features=features[0],
            kernel_size=kernels[0],
            # in nnU-Net's residual encoder it is not the stem that strides, but the first block
            stride=stride[0] if n_blocks_per_stage is None else [1] * len(stride[0]),
            bias=conv_bias,
        )
        stem = [first, _after_conv(joint[0], block)]
        if n_blocks_per_stage is None:
            convs = _per_stage(n_conv_per_stage, n_stages)
            self._add_plain_stages(stem, joint, kernels=kernels, strides=stride, convs=convs, block=block)
        else:
            self._add_residual_stages(
                stem,
                joint,
                kernels=kernels,
                strides=stride,
                blocks=_per_stage(n_blocks_per_stage, n_stages),
                block=block,
            )
        # decoder stages in the order of computation, lowest resolution first, as in nnU-Net's decoder
        self.upsamplings = nn.ModuleList()
        self.own_convs = nn.ModuleList()
        self.skip_convs = nn.ModuleList()
        self.merged = nn.ModuleList()
        self.later_convs = nn.ModuleList()
        self.classifiers = nn.ModuleList()
        for stage, convs in zip(range(n_stages - 2, -1, -1), decoder_convs, strict=True):
            self._add_decoder_stage(
                features[stage + 1],
                features[stage],
                step=stride[stage + 1],
                kernel=kernels[stage],
                n_convs=convs,
                block=block,
            )
            # every resolution has its classifier, so weights load with deep supervision on or off
            self.classifiers.append(conv_op(joint[stage], num_classes, 1, bias=True))
        self.branch_classifiers = (
            BranchwiseConv(branches, partial(conv_op, features[0], num_classes, 1, bias=True))
            if branch_classifiers and not inference_only
            else None
        )

    def _add_plain_stages(
        self,
        stem: list[nn.Module],
        widths: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        convs: Sequence[int],
        block: dict[str, Any],
    ) -> None:
        """Encoder whose first convolution keeps the branches apart, and whose others join them (Eq. 2)."""
        joint = partial(_joint_convs, block=block)
        first = list(stem)
        if convs[0] > 1:
            first.append(joint(convs[0] - 1, widths[0], width=widths[0], kernel=kernels[0], step=1))
        self.encoder = nn.ModuleList([nn.Sequential(*first)])
        for stage in range(1, len(widths)):
            layers = joint(
                convs[stage], widths[stage - 1], width=widths[stage], kernel=kernels[stage], step=strides[stage]
            )
            self.encoder.append(nn.Sequential(layers))

    def _add_residual_stages(
        self,
        stem: list[nn.Module],
        widths: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        blocks: Sequence[int],
        block: dict[str, Any],
    ) -> None:
        """nnU-Net's residual encoder behind a branch-own stem; the blocks join the branches (Eq. 2)."""
        self.encoder = nn.ModuleList()
        for stage, below in enumerate([widths[0], *widths[:-1]]):
            layers = StackedResidualBlocks(
                blocks[stage],
                input_channels=below,
                output_channels=widths[stage],
                kernel_size=kernels[stage],
                initial_stride=strides[stage],
                **block,
            )
            self.encoder.append(nn.Sequential(*(stem if stage == 0 else []), layers))

    def _add_decoder_stage(
        self, low: int, high: int, step: Sequence[int], kernel: Sequence[int], n_convs: int, block: dict[str, Any]
    ) -> None:
        """Upsampling from ``low`` to ``high`` features of a branch, and the block's convolutions (Eq. 3)."""
        conv_op, bias, branches = block["conv_op"], block["conv_bias"], self.num_branches
        padding = [(size - 1) // 2 for size in kernel]
        transposed = get_matching_convtransp(conv_op)
        own = partial(conv_op, high, high, kernel, 1, padding)
        self.upsamplings.append(BranchwiseConv(branches, partial(transposed, low, high, step, step, bias=bias)))
        # H([x_below, skip_A, skip_B]) is the sum of a convolution of each part, so nothing is concatenated
        self.own_convs.append(BranchwiseConv(branches, partial(own, bias=False)))
        self.skip_convs.append(
            conv_op(branches * high, branches * high, kernel_size=kernel, stride=1, padding=padding, bias=bias)
        )
        self.merged.append(_after_conv(branches * high, block))
        later: list[nn.Module] = []
        for _ in range(n_convs - 1):
            later += [BranchwiseConv(branches, partial(own, bias=bias)), _after_conv(branches * high, block)]
        self.later_convs.append(nn.Sequential(*later))

    def forward(self, x: Tensor) -> NetworkOutput | Tensor | list[Tensor]:
        """Segment a batch of patches.

        Args:
            x: ``(B, input_channels, *spatial)``.

        Returns:
            Logits ``(B, num_classes, *spatial)``, or a list of them with deep supervision; in training mode a
            NetworkOutput whose auxiliary part is a PairingOutput.
        """
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits = []
        for index, upsampling in enumerate(self.upsamplings):
            x = self.own_convs[index](upsampling(x)) + self.skip_convs[index](skips[-(index + 2)])
            x = self.later_convs[index](self.merged[index](x))
            if self.deep_supervision or index == len(self.upsamplings) - 1:
                logits.append(self.classifiers[index](x))
        output = logits[::-1] if self.deep_supervision else logits[0]
        if not self.training:
            return output
        own = () if self.branch_classifiers is None else self.branch_classifiers(x).chunk(self.num_branches, dim=1)
        return NetworkOutput(output, PairingOutput(x.chunk(self.num_branches, dim=1), own))

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Everything of nnU-Net's U-Net, its residual blocks included."""
        return arch_kwargs

    def channels_read(self, kernel: str) -> list[int]:
        """Input channels of one branch's kernel: its group, then the channels that every branch reads."""
        return self.channels_of_branches[int(kernel.removeprefix("encoder.0.0.convs.").partition(".")[0])]

    def in_other_order(self, weights: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
        """Weights of the network whose branch ``i`` was ``order[i]``, see :class:`BranchedNetwork`."""
        own = (BranchInputConv, BranchwiseConv)
        lists = [f"{name}.convs" for name, module in self.named_modules() if isinstance(module, own)]
        new = {}
        for name, weight in weights.items():
            of_branch = next((prefix for prefix in lists if name.startswith(f"{prefix}.")), None)
            if of_branch is not None:
                name = item_in_order(name, of_branch, order)
            else:
                # what the branches share reads and writes the features of all of them; classifiers only read them
                axes = (1,) if name.startswith("classifiers.") else (0, 1)
                for axis in axes:
                    weight = in_order(weight, axis, order) if axis < weight.ndim else weight
            new[name] = weight
        return new

    @classmethod
    def initialize(cls, module: nn.Module) -> None:
        """He initialization, as nnU-Net's U-Net; the two parts of a decoder's first convolution are drawn as one."""
        super().initialize(module)
        # nn.Module.apply comes to the network last, when its convolutions have been drawn each for its own inputs
        if isinstance(module, ModalityPairingUNet):
            for own, skip in zip(module.own_convs, module.skip_convs, strict=True):
                _draw_as_one(list(own.parameters()), skip.get_parameter("weight"))  # own has no bias


@torch.no_grad()
def _draw_as_one(own: Sequence[Tensor], skip: Tensor) -> None:
    """Draw Eq. 3's convolution of ``[x_below, skip_A, skip_B]`` for each branch, by its number of inputs, and split it.

    Args:
        own: Weight of ``x_below`` of each branch, ``(C, C, *kernel)``.
        skip: Weight of the skips of all branches, ``(branches * C, branches * C, *kernel)``.
    """
    for below, skips in zip(own, skip.chunk(len(own)), strict=True):
        whole = nn.init.kaiming_normal_(torch.cat([below, skips], 1), a=NEGATIVE_SLOPE)
        below.copy_(whole[:, : below.shape[1]])
        skips.copy_(whole[:, below.shape[1] :])


def _after_conv(width: int, block: dict[str, Any]) -> nn.Sequential:
    """Dropout, normalization, activation, in the order of nnU-Net's blocks."""
    layers: list[nn.Module] = []
    if block["dropout_op"] is not None:
        layers.append(block["dropout_op"](**block["dropout_op_kwargs"]))
    if block["norm_op"] is not None:
        layers.append(block["norm_op"](width, **(block["norm_op_kwargs"] or {})))
    if block["nonlin"] is not None:
        layers.append(block["nonlin"](**(block["nonlin_kwargs"] or {})))
    return nn.Sequential(*layers)


def _joint_convs(
    n_convs: int, below: int, width: int, kernel: Sequence[int], step: Sequence[int] | int, block: dict[str, Any]
) -> StackedConvBlocks:
    """Convolutions in which every branch sees all branches (Eq. 2); widths are those of all branches together."""
    return StackedConvBlocks(
        num_convs=n_convs,
        input_channels=below,
        output_channels=width,
        kernel_size=kernel,
        initial_stride=step,
        **block,
    )


def check_groups(groups: Sequence[Sequence[int]], input_channels: int) -> None:
    """Raise ValueError unless there are two or more disjoint, non-empty groups of valid channel indices."""
    flat = [channel for group in groups for channel in group]
    if len(groups) < 2 or not all(len(group) for group in groups):
        raise ValueError(f"modality_groups needs two or more groups, none of them empty; got {groups}.")
    if len(set(flat)) < len(flat) or not all(0 <= channel < input_channels for channel in flat):
        raise ValueError(
            f"modality_groups needs channel indices from 0 to {input_channels - 1}, each at most once; got {groups}."
        )


def _per_stage(value: Any, n_stages: int) -> list:
    values = [value] * n_stages if isinstance(value, int | np.integer) else list(value)
    if len(values) != n_stages:
        raise ValueError(f"Expected one entry for each of {n_stages} stages, got {values}.")
    return values
