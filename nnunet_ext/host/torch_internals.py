"""What PyTorch offers without a promise that it stays."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode as TensorsWithoutData
from torch.nn.modules.conv import _ConvNd as Convolution
from torch.utils._python_dispatch import TorchDispatchMode as EveryOperator
from torch.utils._pytree import tree_leaves as leaves
from torch.utils._pytree import tree_map as map_leaves

__all__ = [
    "Convolution",
    "EveryOperator",
    "TensorsWithoutData",
    "leaves",
    "map_leaves",
    "storage_identity",
    "uncompiled",
]


def storage_identity(storage: torch.UntypedStorage) -> int:
    """A number that two storages share if they are the same memory."""
    return storage._cdata


def uncompiled(network: nn.Module) -> nn.Module:
    """The network itself, out of torch.compile's wrapper."""
    return getattr(network, "_orig_mod", network)
