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


# of the small SegResNetVAE: behind no ReLU, so that He's factor of 2 would double the variance at each
BEHIND_NO_RELU = {("SegResNetVAE", "encoder.stages.1.0")}


@pytest.mark.parametrize("name", networks())
def test_initialize_draws_the_convolutions_of_each_network_as_he_and_zeroes_their_biases(name):
    network = networks()[name]
    convolutions = [(key, m) for key, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    large = {key: convolution for key, convolution in convolutions if convolution.weight.numel() > 1000}
    assert large
    for convolution in large.values():  # what is to change, is not there already
        assert convolution.weight.std().item() == pytest.approx(he_deviation(convolution, True), rel=0.15)
    owner = {"ModalityPairingUNet": ModalityPairingUNet}.get(name, type(network))
    network.apply(owner.initialize)
    for key, convolution in large.items():
        expected = he_deviation(convolution, False) / math.sqrt(2 if (name, key) in BEHIND_NO_RELU else 1)
        assert convolution.weight.std().item() == pytest.approx(expected, rel=0.15)
        assert abs(convolution.weight.mean().item()) < 0.1 * he_deviation(convolution, False)
    assert not any(module.bias.any() for _, module in convolutions if module.bias is not None)


@pytest.mark.parametrize("base", [4, 32])
def test_logits_of_the_network_without_last_normalization_start_where_the_sigmoid_has_a_gradient(base):
    torch.manual_seed(0)
    network = SegResNetVAE(4, 4, base, nn.Conv2d, 3, [1, 2, 2, 2], num_classes=3, patch_size=(64, 64))
    network.apply(SegResNetVAE.initialize)
    x = torch.randn(4, 4, 64, 64)
    logits, branch = network(x)
    assert logits.shape == x[:, :3].shape
    assert 0.1 < logits.std() < 1
    assert logits.abs().max() < 5
    assert 1 < branch.reconstruction.std() < 3
    # each convolution on the blocks' sum keeps its variance
    for convolution, factor in (
        (network.encoder.stages[2][0], 1),
        (network.decoder.upsizings[0].conv, 1),
        (network.autoencoder.upsizings[0].conv, 1),
        (network.autoencoder.to_image, 1),
        (network.decoder.to_logits, 0.1),
    ):
        deviation = factor / math.sqrt(convolution.weight[0].numel())
        few = convolution.weight.numel() < 200
        assert convolution.weight.std().item() == pytest.approx(deviation, rel=0.5 if few else 0.15)
