"""Group normalization: groups, and the precision of its result."""

import pytest
import torch
import torch.nn.functional as F

from nnunet_ext.architectures import GroupNorm
from nnunet_ext.architectures.pre_activation_block import GroupNormReLU
from nnunet_ext.counting.cuda_precision import cuda_mixed_precision


def drawn(norm):
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize("channels", [2, 4, 12, 32])
def test_there_are_8_groups_or_as_many_as_the_width_allows(channels):
    norm, x = drawn(GroupNorm(channels)), torch.randn(2, channels, 4, 4)
    groups = {2: 2, 4: 4, 12: 4, 32: 8}[channels]
    assert norm.num_groups == groups
    torch.testing.assert_close(norm(x), F.group_norm(x, groups, norm.weight, norm.bias))


def test_scale_and_shift_can_be_left_out():
    x = torch.randn(2, 8, 4)
    torch.testing.assert_close(GroupNorm(8, 2, affine=False)(x), F.group_norm(x, 2))


@pytest.mark.parametrize("norm", [GroupNorm(16), GroupNormReLU(8, 16)], ids=lambda norm: type(norm).__name__)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_precision_of_the_input_on_a_gpu_as_well(norm, dtype):
    x = torch.randn(1, 16, 4, 4, dtype=dtype)
    with cuda_mixed_precision():  # where group norm returns float32 unless autocast is off
        assert norm(x).dtype == dtype
    assert norm(x).dtype == dtype


def test_half_precision_input_far_from_zero_is_normalized_accurately():
    norm, x = drawn(GroupNorm(8)), (200 + 3 * torch.randn(1, 8, 16, 16, 16)).half()
    torch.testing.assert_close(norm(x).float(), norm(x.float()), atol=0.02, rtol=0.02)
