"""The GPU's mixed precision on the CPU: dtypes of what operations return."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnunet_ext.counting.cuda_precision import cuda_mixed_precision

X = torch.zeros(1, 8, 4, 4, 4, dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("operation", "dtype"),
    [
        (lambda: nn.Conv3d(8, 8, 3)(X.float()), torch.bfloat16),
        (lambda: nn.ConvTranspose3d(8, 8, 2, 2)(X.float()), torch.bfloat16),
        (lambda: nn.Linear(4, 2)(X.float()), torch.bfloat16),
        (lambda: F.instance_norm(X), torch.bfloat16),
        (lambda: F.interpolate(X, scale_factor=2, mode="trilinear"), torch.bfloat16),
        (lambda: nn.MaxPool3d(2)(X), torch.bfloat16),
        (lambda: X.mean(), torch.bfloat16),
        (lambda: torch.sigmoid(X), torch.bfloat16),
        (lambda: F.group_norm(X, 2), torch.float32),
        (lambda: F.softmax(X, 1), torch.float32),
        (lambda: X.log_softmax(1), torch.float32),
        (lambda: X.sum((2, 3)), torch.float32),
        (lambda: X**2, torch.float32),
        (lambda: X.exp(), torch.float32),
        (lambda: F.cross_entropy(X, torch.zeros(1, 4, 4, 4).long()), torch.float32),
    ],
)
def test_operations_return_what_they_return_on_a_gpu(operation, dtype):
    with cuda_mixed_precision():
        assert operation().dtype == dtype


def test_rules_stop_where_autocast_is_off():
    with cuda_mixed_precision(), torch.autocast("cpu", enabled=False):
        assert F.group_norm(X, 2).dtype == torch.bfloat16
        assert nn.Conv3d(8, 8, 3)(X.float()).dtype == torch.float32


def test_sum_keeps_a_dtype_that_is_asked_for():
    with cuda_mixed_precision():
        assert X.sum(dtype=torch.float64).dtype == torch.float64
