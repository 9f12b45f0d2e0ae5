"""Weights after ``initialize``, which nnU-Net applies to each module of a new network."""

import math

import pytest
import torch
from torch import nn

from nnunet_ext.architectures import (
    AttentionFusionUNet,
    BiFPNet,
    GroupNorm,
    ModalityPairingUNet,
    NestedUNet,
    SegResNetVAE,
)
from nnunet_ext.architectures.fusion_system import PROPOSED

SIZES = {"conv_op": nn.Conv2d, "num_classes": 3}
TWO_LEVELS = {**SIZES, "kernel_sizes": [[3, 3], [3, 3]], "strides": [[1, 1], [2, 2]]}
SLICES = {"regions": True, "slice_axis": None, "norm_op": GroupNorm}


def networks() -> dict[str, nn.Module]:
    """A small network of each class, with PyTorch's own initialization."""
    torch.manual_seed(0)
    return {
        "BiFPNet": BiFPNet(2, 2, [8, 16], **TWO_LEVELS | {"strides": [[2, 2]] * 2}, **SLICES, pyramid_features=16),
        "NestedUNet": NestedUNet(2, 2, [16, 32], **TWO_LEVELS, **SLICES),
        "SegResNetVAE": SegResNetVAE(2, 2, 16, **SIZES, kernel_sizes=3, strides=[1, 2], patch_size=(8, 8)),
        "AttentionFusionUNet": AttentionFusionUNet(
            2, **PROPOSED.topology(8, 2), **TWO_LEVELS, streams=[[0], [1]], n_modalities=2
        ),
        "ModalityPairingUNet": ModalityPairingUNet(
            2,
            2,
            [16, 32],
            **TWO_LEVELS,
            n_conv_per_stage=2,
            n_conv_per_stage_decoder=2,
            modality_groups=[[0], [1]],
            conv_bias=True,
        ).encoder,
    }


def he_deviation(convolution: nn.Module, initial: bool) -> float:
    """He's standard deviation for ReLU, ``sqrt(2 / fan in)``; PyTorch's own is ``sqrt(1 / (3 fan in))``."""
    return math.sqrt((1 / 3 if initial else 2) / convolution.weight[0].numel())


@pytest.mark.parametrize("name", networks())
def test_initialize_draws_the_convolutions_of_each_network_as_he_and_zeroes_their_biases(name):
    network = networks()[name]
    convolutions = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    large = [convolution for convolution in convolutions if convolution.weight.numel() > 1000]
    assert large
    for convolution in large:  # what is to change, is not there already
        assert convolution.weight.std().item() == pytest.approx(he_deviation(convolution, True), rel=0.15)
    owner = {"ModalityPairingUNet": ModalityPairingUNet}.get(name, type(network))
    network.apply(owner.initialize)
    for convolution in large:
        assert convolution.weight.std().item() == pytest.approx(he_deviation(convolution, False), rel=0.15)
        assert abs(convolution.weight.mean().item()) < 0.1 * he_deviation(convolution, False)
    assert not any(module.bias.any() for module in convolutions if module.bias is not None)
