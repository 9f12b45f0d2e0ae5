"""Constructor arguments of nnU-Net's U-Net from sizes alone, for voxels of equal spacing along all axes."""

import math
import pydoc
from collections.abc import Mapping, Sequence
from typing import Any

SHORTEST = 4  # nnU-Net: an axis is not pooled below so many voxels
WIDEST = {2: 16, 3: 10}  # nnU-Net: 512 and 320 features, in multiples of its first stage's 32
CONVOLUTIONS = 2  # nnU-Net: of a stage of its U-Net
CLASSES = ("conv_op", "norm_op", "dropout_op", "nonlin")  # arguments that are classes: nnU-Net's _kw_requires_import


def unet_arguments(
    patch_size: Sequence[int],
    base_num_features: int,
    strides: Sequence[Sequence[int]] | None = None,
    kernel_sizes: Sequence[Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Arguments of nnU-Net's U-Net, as its plans hold them (classes by their names).

    Args:
        patch_size: Voxels of an input along each axis; two or three.
        base_num_features: Features of the first stage; 32 in nnU-Net's plans.
        strides: Stride into each stage, the first all 1; None halves an axis until it would be shorter than 4, as
            nnU-Net's planner does for voxels of equal spacing.
        kernel_sizes: Kernel of each stage; None is 3 everywhere.

    Raises:
        ValueError: Neither two nor three axes, other numbers of stages, or a patch that the strides do not divide.
    """
    dimension = len(patch_size)
    if dimension not in WIDEST:
        raise ValueError(f"A patch has two or three axes, got {list(patch_size)}.")
    steps = halvings(patch_size) if strides is None else [list(stride) for stride in strides]
    kernels = [[3] * dimension] * len(steps) if kernel_sizes is None else [list(size) for size in kernel_sizes]
    if len(kernels) != len(steps):
        raise ValueError(f"There are {len(steps)} strides and {len(kernels)} kernel sizes; each stage has one of both.")
    total = [math.prod(axis) for axis in zip(*steps, strict=True)]
    if len(total) != dimension or any(side % step for side, step in zip(patch_size, total, strict=True)):
        raise ValueError(f"A patch of {list(patch_size)} voxels is no multiple of the total stride {total}.")
    widest = WIDEST[dimension] * base_num_features
    return {
        "n_stages": len(steps),
        "features_per_stage": [min(base_num_features * 2**stage, widest) for stage in range(len(steps))],
        "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
        "kernel_sizes": kernels,
        "strides": steps,
        "n_conv_per_stage": [CONVOLUTIONS] * len(steps),
        "n_conv_per_stage_decoder": [CONVOLUTIONS] * (len(steps) - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def halvings(patch_size: Sequence[int]) -> list[list[int]]:
    """Stride into each stage: 1, then 2 along the axes that stay at 4 voxels or more, while there are any.

    A single axis that is left is halved only from 12 voxels on, which is nnU-Net's rule.

    Args:
        patch_size: Voxels along each axis.
    """
    strides, size = [[1] * len(patch_size)], list(patch_size)
    while True:
        halved = [side >= 2 * SHORTEST for side in size]
        if not any(halved) or (sum(halved) == 1 and max(size) < 3 * SHORTEST):
            return strides
        strides.append([2 if axis else 1 for axis in halved])
        size = [math.ceil(side / step) for side, step in zip(size, strides[-1], strict=True)]


def with_classes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with classes in place of the names under which plans hold them.

    Args:
        arguments: Constructor arguments as plans hold them.
    """
    named = {name: value for name, value in arguments.items() if name in CLASSES and isinstance(value, str)}
    return {**arguments, **{name: pydoc.locate(value) for name, value in named.items()}}
