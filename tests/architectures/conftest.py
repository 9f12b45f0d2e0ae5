"""What several tests of networks need."""

import pytest
import torch


@pytest.fixture
def native_convolutions(monkeypatch):
    """PyTorch's own convolutions on the CPU.

    oneDNN's convolutions of bfloat16 read memory beside volumes as small as 2x2x2, so that a gradient is nan now and
    then, whatever the network is.
    """
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
