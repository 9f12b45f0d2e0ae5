"""The attention block of Fig. 3b."""

import pytest
import torch
from torch import nn

from nnunet_ext.architectures.spatial_attention import SpatialAttention


def convolutions(block):
    return [module for module in block.layers if isinstance(module, nn.Conv3d)]


def test_layers_are_those_of_figure_3b():
    block = SpatialAttention(nn.Conv3d, 64, [3, 3, 3])
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.dilation[0]) for c in convolutions(block)] == [
        (64, 4, 1, 1),
        (4, 4, 3, 4),
        (4, 4, 3, 4),
        (4, 1, 1, 1),
    ]


@pytest.mark.parametrize(("kernel", "shape"), [([3, 3, 3], (4, 6, 8)), ([1, 3, 3], (1, 6, 8))])
def test_heat_map_has_one_channel_and_the_size_of_the_features(kernel, shape):
    heat = SpatialAttention(nn.Conv3d, 8, kernel)(torch.rand(2, 8, *shape))
    assert heat.shape == (2, 1, *shape)


def test_narrow_features_reduce_to_one_channel():
    assert convolutions(SpatialAttention(nn.Conv3d, 4, [3, 3, 3]))[1].in_channels == 1


def test_receptive_field_is_two_dilated_kernels_wide():
    x = torch.rand(1, 16, 41, 41, requires_grad=True)
    SpatialAttention(nn.Conv2d, 16, [3, 3], dilation=4)(x)[0, 0, 20, 20].backward()
    reached = x.grad[0].abs().sum(0).nonzero()[:, 0].unique() - 20
    assert reached.tolist() == [-8, -4, 0, 4, 8]


def test_norm_and_activation_follow_all_convolutions_but_the_last():
    block = SpatialAttention(nn.Conv2d, 32, [3, 3], norm_op=nn.BatchNorm2d, nonlin=nn.ReLU)
    names = [type(module).__name__ for module in block.layers]
    assert names == ["Conv2d", "BatchNorm2d", "ReLU"] * 3 + ["Conv2d", "Sigmoid"]
