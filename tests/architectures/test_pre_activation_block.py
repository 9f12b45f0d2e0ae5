"""Building blocks of Myronenko's network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnunet_ext.architectures.pre_activation_block import GroupNormReLU, LinearUpsizing, PreActivationBlock


def test_block_is_norm_relu_conv_twice_plus_identity():
    block = PreActivationBlock(nn.Conv3d, 16, (1, 3, 3), conv_bias=False, num_groups=8)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    x = torch.randn(2, 16, 4, 5, 6)
    expected = x
    for norm, conv in ((block.norm1, block.conv1), (block.norm2, block.conv2)):
        expected = F.conv3d(F.relu(F.group_norm(expected, 8, norm.weight, norm.bias)), conv.weight, padding=(0, 1, 1))
    torch.testing.assert_close(block(x), expected + x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("features", "groups"), [(32, 8), (4, 4), (12, 4), (5, 1)])
def test_groups_divide_the_features(features, groups):
    assert GroupNormReLU(8, features).num_groups == groups


def test_norm_keeps_half_precision_and_is_accurate_far_from_zero():
    x = 200 + 3 * torch.randn(1, 8, 16, 16, 16)
    norm = GroupNormReLU(8, 8)
    with torch.autocast("cpu", dtype=torch.float16):
        half = norm(x.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), norm(x.half().float()), atol=0.01, rtol=0.01)


@pytest.mark.parametrize(("dimension", "size"), [(2, (7, 4)), (3, (7, 4, 3)), (3, (4, 2, 3))])
def test_upsizing_reaches_the_size_asked_for(dimension, size):
    upsizing = LinearUpsizing((nn.Conv2d, nn.Conv3d)[dimension - 2], 4, 2, conv_bias=False)
    assert upsizing(torch.randn(1, 4, *(4, 2, 3)[:dimension]), size).shape == (1, 2, *size)


def test_upsizing_is_linear_between_voxels():
    upsizing = LinearUpsizing(nn.Conv2d, 1, 1, conv_bias=False)
    nn.init.ones_(upsizing.conv.weight)
    doubled = upsizing(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))
    torch.testing.assert_close(doubled, torch.tensor([[[[0.0, 1.0, 3.0, 4.0]]]]))
