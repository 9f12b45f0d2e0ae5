"""Variational autoencoder branch that regularizes the encoder of Myronenko's network (Table 1 of the paper)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnunet_ext.architectures.pre_activation_block import (
    GroupNormReLU,
    LinearUpsizing,
    PreActivationBlock,
    same_conv,
)
from nnunet_ext.architectures.without_autocast import without_autocast

# Not stated: our choice, the bounds of latent diffusion's autoencoders (Rombach et al., CVPR 2022, in their code), far
# outside what training reaches. Without bounds σ² overflows float32 from log σ² = 88.7, and the loss is infinite.
LOG_VARIANCE_RANGE = (-30.0, 20.0)


class AutoencoderOutput(NamedTuple):
    """What the regularizing losses need.

    Attributes:
        reconstruction: ``I_pred``, ``(B, image_channels, *patch_size)``.
        image: ``I_input``, the image channels of this step's network input, of the same shape.
        mean: ``μ``, ``(B, latent)``, float32.
        log_variance: ``log σ²``, ``(B, latent)``, float32, in ``LOG_VARIANCE_RANGE``.
    """

    reconstruction: Tensor
    image: Tensor
    mean: Tensor
    log_variance: Tensor


def draw_sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """``z = μ + σ ε`` with ``σ = exp(log σ² / 2)``: a draw from ``N(μ, σ²)`` through which μ and σ get gradients.

    Args:
        mean: ``μ``, ``(B, latent)``.
        log_variance: ``log σ²``, ``(B, latent)``.
        noise: ``ε`` from the standard normal distribution, ``(B, latent)``.
    """
    return mean + torch.exp(0.5 * log_variance) * noise


class AutoencoderBranch(nn.Module):
    """Reconstructs the image from the encoder's endpoint, through weights of its own and without skips.

    Args:
        conv_op: Convolution class of the wanted dimension.
        features_per_stage: Features of the encoder's levels, the full size first; the last are the endpoint's.
        kernel_sizes: Kernel size of each level and axis.
        sizes: Spatial size of each level at the training patch size, the full size first.
        latent: Length of ``μ`` and of ``σ``; 128 in Table 1.
        reduced_features: Features of VD's convolution; 16 in Table 1.
        image_channels: Channels to reconstruct.
        conv_bias: Whether convolutions inside have a bias; the last one always has.
        num_groups: Groups of the group normalizations.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        features_per_stage: Sequence[int],
        kernel_sizes: Sequence[Sequence[int]],
        sizes: Sequence[Sequence[int]],
        latent: int,
        reduced_features: int,
        image_channels: int,
        conv_bias: bool,
        num_groups: int,
    ):
        super().__init__()
        endpoint = features_per_stage[-1]
        self.sizes = [tuple(size) for size in sizes]
        self.latent = latent
        # An axis of one voxel, or one that the plans never convolve along, cannot be halved.
        stride = [2 if n > 1 and k > 1 else 1 for n, k in zip(sizes[-1], kernel_sizes[-1], strict=True)]
        self.reduced_shape = (reduced_features, *(math.ceil(n / s) for n, s in zip(sizes[-1], stride, strict=True)))
        flat = math.prod(self.reduced_shape)
        # VD
        self.norm = GroupNormReLU(num_groups, endpoint)
        self.reduce = same_conv(
            conv_op,
            endpoint,
            output_channels=reduced_features,
            kernel_size=kernel_sizes[-1],
            stride=stride,
            bias=conv_bias,
        )
        self.to_distribution = nn.Linear(flat, 2 * latent)
        # VU
        self.from_sample = nn.Linear(latent, flat)
        self.expand = LinearUpsizing(conv_op, reduced_features, endpoint, conv_bias)
        # VUp2, VBlock2, VUp1, VBlock1, VUp0, VBlock0
        levels = range(len(features_per_stage) - 2, -1, -1)
        self.upsizings = nn.ModuleList(
            LinearUpsizing(conv_op, features_per_stage[level + 1], features_per_stage[level], conv_bias)
            for level in levels
        )
        self.blocks = nn.ModuleList(
            PreActivationBlock(
                conv_op,
                features_per_stage[level],
                kernel_size=kernel_sizes[level],
                conv_bias=conv_bias,
                num_groups=num_groups,
            )
            for level in levels
        )
        # Vend
        self.to_image = conv_op(features_per_stage[0], image_channels, 1, bias=True)

    def distribution(self, endpoint: Tensor) -> tuple[Tensor, Tensor]:
        """``μ`` and ``log σ²``, each ``(B, latent)`` in float32, from the endpoint ``(B, C, *spatial)``."""
        reduced = self.reduce(self.norm(endpoint)).flatten(1)
        # Not in half precision: log σ² is exponentiated twice, in the sample and in the divergence.
        with without_autocast(endpoint.device):
            mean, log_variance = self.to_distribution(reduced.to(self.to_distribution.weight.dtype)).chunk(2, dim=1)
            return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def reconstruct(self, sample: Tensor) -> Tensor:
        """Image ``(B, image_channels, *patch_size)`` from a sample ``(B, latent)``."""
        x = torch.relu(self.from_sample(sample)).unflatten(1, self.reduced_shape)
        x = self.expand(x, self.sizes[-1])
        for upsizing, block, size in zip(self.upsizings, self.blocks, self.sizes[-2::-1], strict=True):
            x = block(upsizing(x, size))
        return self.to_image(x)

    def forward(self, endpoint: Tensor, image: Tensor, noise: Tensor | None = None) -> AutoencoderOutput:
        """Reconstruction and distribution.

        Args:
            endpoint: Encoder output ``(B, C, *spatial)`` of an input with the training patch size.
            image: ``(B, image_channels, *patch_size)``; handed on to the loss.
            noise: ``ε``, ``(B, latent)``; None draws it from PyTorch's default generator.
        """
        mean, log_variance = self.distribution(endpoint)
        if noise is None:
            noise = torch.randn_like(mean)
        reconstruction = self.reconstruct(draw_sample(mean, log_variance, noise))
        return AutoencoderOutput(reconstruction, image, mean, log_variance)


def initialize_linear(module: nn.Module) -> None:
    """Keep the variance in convolutions without ReLU and normalization in front: upsizings', and that to the image.

    Args:
        module: One module of a new network, initialized as all its convolutions are.
    """
    if isinstance(module, LinearUpsizing):
        keep_variance(module.conv)
    elif isinstance(module, AutoencoderBranch):
        keep_variance(module.to_image)


def keep_variance(convolution: Any, scale: float = 1.0) -> None:
    """Normal weights with which the output has the variance of the input, times ``scale`` squared."""
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
    with torch.no_grad():
        convolution.weight.mul_(scale)
