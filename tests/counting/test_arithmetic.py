"""Counted arithmetic against counts by hand."""

import pytest
import torch
from torch import nn

from nnunet_ext.counting.arithmetic import operation_counter

LAYERS = {
    # output voxels x kernel voxels x output channels x input channels a group, a multiplication and an addition each
    "full": (nn.Conv3d(6, 12, 3, padding=1), 8**3 * 27 * 12 * 6 * 2),
    "strided": (nn.Conv3d(6, 12, 3, stride=2, padding=1), 4**3 * 27 * 12 * 6 * 2),
    "two groups": (nn.Conv3d(6, 12, 3, padding=1, groups=2), 8**3 * 27 * 12 * 3 * 2),
    "depthwise": (nn.Conv3d(6, 6, 3, padding=1, groups=6), 8**3 * 27 * 6 * 1 * 2),
    # input voxels in place of output voxels
    "transposed": (nn.ConvTranspose3d(6, 4, 2, stride=2), 8**3 * 8 * 4 * 6 * 2),
}


@pytest.mark.parametrize(("layer", "forward"), LAYERS.values(), ids=LAYERS)
def test_each_gradient_of_a_convolution_takes_as_much_as_its_forward_pass(layer, forward):
    images = torch.randn(3, 6, 8, 8, 8)
    with operation_counter() as counter:
        output = layer(images)
    assert counter.get_total_flops() == 3 * forward
    with operation_counter() as counter:
        output.sum().backward()
    assert counter.get_total_flops() == 3 * forward  # the images need no gradient
    with operation_counter() as counter:
        layer(images.requires_grad_()).sum().backward()
    assert counter.get_total_flops() == 3 * 3 * forward
