"""Encoder-decoder with a variational autoencoder branch, written from the paper.

A. Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018, LNCS 11384,
doi:10.1007/978-3-030-11726-9_28. The author's training code was not published.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, maybe_convert_scalar_to_list
from torch import Tensor, nn

from nnunet_ext.architectures.autoencoder_branch import (
    AutoencoderBranch,
    AutoencoderOutput,
    initialize_linear,
    keep_variance,
)
from nnunet_ext.architectures.method_network import MethodNetwork, check_lengths
from nnunet_ext.architectures.network_output import NetworkOutput
from nnunet_ext.architectures.segresnet import Decoder, Encoder

LEVELS = 4  # Fig. 1; the endpoint is 8 times smaller than the input, Sec. 3.1
BLOCKS = (1, 2, 2, 4)  # Fig. 1
PUBLISHED_DROPOUT = 0.2  # Sec. 3.6
PUBLISHED_BASE = 32  # "initial number of filters equal to 32", Sec. 3.1
PUBLISHED_LATENT = 128  # "128 to represent mean, and 128 to represent std", Sec. 3.3
PUBLISHED_REDUCED = 16  # VD's "Conv (16)", Table 1
LEAST_LATENT, LEAST_REDUCED = 8, 4  # our choice: narrower networks than base 8 keep a usable bottleneck
# Of the deviation that keeps the variance, for the convolution to the logits. Not stated: our choice, because logits
# then start at about 0.4, where the sigmoid has a gradient (benchmarks/dead_regions.py)
LOGITS_SCALE = 0.1


class SegResNetVAE(MethodNetwork):
    """Myronenko's network: residual encoder, segmentation decoder, and an autoencoder branch for training.

    In training mode ``forward`` returns ``NetworkOutput(logits, AutoencoderOutput)``. In eval mode it returns
    the logits alone, and the branch is not computed.

    Args:
        input_channels: Channels of the input: the image's, then any others (a cascade's one-hot segmentation).
        n_stages: Levels of the encoder; 4 in the paper.
        features_per_stage: Features of each level; ``32 * 2**level`` in the paper. A number is the first level's.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: Kernel size of each level (and axis); 3 in the paper.
        strides: Stride of each level (and axis); the first must be 1. 1, 2, 2, 2 in the paper.
        num_classes: Segmentation channels.
        patch_size: Spatial size of the training patches. The dense layers of the branch depend on it; predictions
            may have any size.
        n_blocks_per_stage: Residual blocks of each encoder level; 1, 2, 2, 4 in Fig. 1, or as many of these as there
            are levels.
        conv_bias: Whether convolutions have a bias. Not stated in the paper; without, since normalizations follow. The
            last one of each decoder always has a bias.
        num_groups: Groups of the group normalizations. Table 1 says "group size of 8", read as 8 groups.
        dropout_op: Spatial dropout after the first convolution and nowhere else, ``nn.Dropout3d`` in the paper.
        dropout_op_kwargs: ``{"p": 0.2}`` in the paper.
        image_channels: How many of the first input channels are the image to reconstruct; None takes all.
        deep_supervision: Must be False: the paper has a single output.
        inference_only: Leave the branch out. Such a network holds the same segmentation weights and cannot be trained.

    Raises:
        ValueError: Deep supervision, lists whose length is not ``n_stages``, a first stride other than 1, a patch too
            small for the strides or of another dimension, or more image channels than input channels.
    """

    # Submodules without which predictions are the same. `inference_only=True` builds the network without them.
    training_only: ClassVar[tuple[str, ...]] = ("autoencoder",)

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: int | Sequence[int | Sequence[int]],
        strides: Sequence[int | Sequence[int]],
        num_classes: int,
        patch_size: Sequence[int],
        n_blocks_per_stage: Sequence[int] = BLOCKS,
        conv_bias: bool = False,
        num_groups: int = 8,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        image_channels: int | None = None,
        deep_supervision: bool = False,
        inference_only: bool = False,
    ):
        super().__init__(input_channels, deep_supervision)
        if isinstance(features_per_stage, int):
            features_per_stage = [features_per_stage * 2**level for level in range(n_stages)]
        if isinstance(kernel_sizes, int):
            kernel_sizes = [kernel_sizes] * n_stages
        kernels = [maybe_convert_scalar_to_list(conv_op, kernel) for kernel in kernel_sizes]
        steps = [maybe_convert_scalar_to_list(conv_op, stride) for stride in strides]
        blocks = tuple(n_blocks_per_stage)[:n_stages]
        check_lengths(
            n_stages,
            features_per_stage=features_per_stage,
            kernel_sizes=kernels,
            strides=steps,
            n_blocks_per_stage=blocks,
        )
        image_channels = input_channels if image_channels is None else image_channels
        if not 1 <= image_channels <= input_channels:
            raise ValueError(f"image_channels is {image_channels}, but the input has {input_channels} channels.")

        self.image_channels = image_channels
        self.patch_size = tuple(patch_size)
        self.encoder = Encoder(
            conv_op,
            input_channels,
            features=features_per_stage,
            kernels=kernels,
            strides=steps,
            n_blocks=blocks,
            conv_bias=conv_bias,
            num_groups=num_groups,
            dropout=None if dropout_op is None else dropout_op(**(dropout_op_kwargs or {})),
        )
        self.decoder = Decoder(
            conv_op,
            features_per_stage,
            kernels=kernels,
            num_classes=num_classes,
            conv_bias=conv_bias,
            num_groups=num_groups,
        )
        sizes = level_sizes(self.patch_size, steps, convert_conv_op_to_dim(conv_op))
        latent, reduced = bottleneck_widths(features_per_stage[0])
        self.autoencoder = None
        if not inference_only:
            self.autoencoder = AutoencoderBranch(
                conv_op,
                features_per_stage,
                kernels,
                sizes,
                latent=latent,
                reduced_features=reduced,
                image_channels=image_channels,
                conv_bias=conv_bias,
                num_groups=num_groups,
            )

    @classmethod
    def initialize(cls, module: nn.Module) -> None:
        """He initialization of convolutions behind a ReLU; of those that read the sum of the blocks, half its variance.

        He's factor of 2 makes up for what a ReLU takes away. The strided and the 1x1x1 convolutions have no ReLU in
        front, and in this network no normalization either: with the factor the variance doubles at each of them, logits
        start between -50 and 50, and a region whose sigmoid is exactly 0 or 1 everywhere gets no gradient from Dice.

        Args:
            module: One module of a new network; nnU-Net applies this to each, the inner ones first.
        """
        super().initialize(module)
        if isinstance(module, Encoder):
            for stage in module.stages:
                keep_variance(next(stage.children()))
        elif isinstance(module, Decoder):
            keep_variance(module.to_logits, LOGITS_SCALE)
        else:
            initialize_linear(module)

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Strides and kernels of nnU-Net's first four stages; widths that double from nnU-Net's first."""
        levels = min(LEVELS, arch_kwargs["n_stages"])
        return {
            "n_stages": levels,
            "features_per_stage": [arch_kwargs["features_per_stage"][0] * 2**level for level in range(levels)],
            "conv_op": arch_kwargs["conv_op"],
            "kernel_sizes": arch_kwargs["kernel_sizes"][:levels],
            "strides": arch_kwargs["strides"][:levels],
            "n_blocks_per_stage": list(BLOCKS[:levels]),
            "dropout_op": f"torch.nn.modules.dropout.Dropout{len(arch_kwargs['strides'][0])}d",
        }

    @classmethod
    def size_options(cls, input_channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
        """The patch, for the branch's dense layers, and the paper's dropout."""
        return {"patch_size": list(patch_size), "dropout_op_kwargs": {"p": PUBLISHED_DROPOUT}}

    def forward(self, x: Tensor, noise: Tensor | None = None) -> NetworkOutput | Tensor:
        """Logits ``(B, num_classes, *spatial)``; in training mode with the autoencoder's output.

        Args:
            x: ``(B, input_channels, *spatial)``; in training mode ``spatial`` is the patch size.
            noise: Noise of the autoencoder's sample, ``(B, latent)``; None draws it.

        Raises:
            ValueError: Other number of channels, or in training mode other patch size.
            RuntimeError: Training mode of a network built with ``inference_only``.
        """
        if x.shape[1] != self.input_channels:
            raise ValueError(f"The network was built for {self.input_channels} input channels, got {x.shape[1]}.")
        if not self.training:
            return self.decoder(self.encoder(x))
        if self.autoencoder is None:
            raise RuntimeError("This network was built without its autoencoder branch and can only predict.")
        if tuple(x.shape[2:]) != self.patch_size:
            raise ValueError(
                f"Training needs patches of {self.patch_size} voxels, for which the autoencoder branch was built; "
                f"got {tuple(x.shape[2:])}. Predictions may have any size."
            )
        levels = self.encoder(x)
        image = x[:, : self.image_channels]
        return NetworkOutput(self.decoder(levels), self.autoencoder(levels[-1], image, noise))

    def reconstruct(self, x: Tensor) -> AutoencoderOutput:
        """Reconstruction from the mean of the latent distribution, without drawing a sample.

        Args:
            x: ``(B, input_channels, *patch_size)``.

        Raises:
            RuntimeError: The network was built with ``inference_only``.
        """
        if self.autoencoder is None:
            raise RuntimeError("This network was built without its autoencoder branch and can only predict.")
        noise = x.new_zeros(len(x), self.autoencoder.latent)
        return self.autoencoder(self.encoder(x)[-1], x[:, : self.image_channels], noise)


def bottleneck_widths(base: int) -> tuple[int, int]:
    """Length of the latent and features of VD's convolution: Table 1's at a base of 32, and in proportion to it."""
    latent = max(LEAST_LATENT, PUBLISHED_LATENT * base // PUBLISHED_BASE)
    return latent, max(LEAST_REDUCED, PUBLISHED_REDUCED * base // PUBLISHED_BASE)


def level_sizes(patch_size: Sequence[int], strides: Sequence[Sequence[int]], dimension: int) -> list[tuple[int, ...]]:
    """Spatial size of each level, rounded up where a stride does not divide.

    Args:
        patch_size: Voxels along each axis at full size.
        strides: Stride of each level and axis.
        dimension: 2 or 3.

    Raises:
        ValueError: A patch of another dimension, too small, or a first stride other than 1.
    """
    if len(patch_size) != dimension:
        raise ValueError(f"patch_size {tuple(patch_size)} does not have the network's {dimension} dimensions.")
    if any(step != 1 for step in strides[0]):
        raise ValueError(f"The first level works at full size: strides must begin with 1, not {strides[0]}.")
    factors = [math.prod(axis) for axis in zip(*strides, strict=True)]
    if any(n < factor for n, factor in zip(patch_size, factors, strict=True)):
        raise ValueError(
            f"A patch of {tuple(patch_size)} voxels is too small for {len(strides)} levels: "
            f"it needs at least {tuple(factors)}."
        )
    sizes, size = [], tuple(patch_size)
    for stride in strides:
        size = tuple(math.ceil(n / step) for n, step in zip(size, stride, strict=True))
        sizes.append(size)
    return sizes
