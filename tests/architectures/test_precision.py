"""Precision of the losses."""

import pytest
import torch

from nnunet_ext.architectures.precision import at_least_float32


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_becomes_float32_and_the_others_stay(given, computed):
    assert at_least_float32(torch.ones(2, dtype=given)).dtype == computed
