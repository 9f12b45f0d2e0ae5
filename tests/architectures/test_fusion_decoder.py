"""Widths and shapes of the decoders."""

import pytest
import torch
from torch import nn

from nnunet_ext.architectures.fusion_decoder import CoarseHead, FusionDecoder


def features():
    return [torch.rand(2, 6, 12, 8), torch.rand(2, 10, 6, 8), torch.rand(2, 14, 3, 4)]


@pytest.mark.parametrize("upsampling", ["interpolation", "transposed"])
def test_widths_and_shapes_follow_the_levels(upsampling):
    decoder = FusionDecoder(
        [6, 10, 14], [4, 8, 16], [2, 1], [[3, 3]] * 3, [[1, 1], [2, 1], [2, 2]], upsampling, 5, nn.Conv2d,
        {"conv_bias": True},
    )  # fmt: skip
    assert decoder(features()).shape == (2, 5, 12, 8)
    # From the deepest level upwards: skip and upsampled features in, the level's width out.
    assert [(b.convs[0].conv.in_channels, b.output_channels) for b in decoder.blocks] == [(18, 8), (10, 4)]
    assert [len(b.convs) for b in decoder.blocks] == [1, 2]


def test_coarse_head_interpolates_linearly_to_the_first_level():
    head = CoarseHead(1, 1, nn.Conv2d)
    nn.init.ones_(head.head.weight)
    nn.init.zeros_(head.head.bias)
    logits = head([torch.rand(1, 3, 1, 4), torch.tensor([[[[0.0, 4.0]]]])])
    assert logits.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
