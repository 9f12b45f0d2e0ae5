"""Counted memory: bytes of the tensors alive while a function runs, for real tensors or for stand-ins without data."""

import weakref
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_ext.host.torch_internals import EveryOperator, TensorsWithoutData, leaves, storage_identity


class TensorBytes(EveryOperator):
    """Context that counts the bytes of all storages that operators return, while these are alive.

    What kernels hold while they work is not seen, nor what an allocator loses to fragmentation.

    Args:
        held: Tensors that exist before and are not counted when an operator returns them or a view of them.

    Attributes:
        current: Bytes alive now.
        peak: Most bytes that were alive at once.
    """

    def __init__(self, held: Iterable[Tensor] = ()):
        super().__init__()
        self.current = self.peak = 0
        self._alive = {storage_identity(tensor.untyped_storage()) for tensor in held}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        for tensor in leaves(outputs):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return outputs

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage_identity(storage), storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.current -= size


def training_feature_map_size(network: nn.Module, input_channels: int, input_size: Sequence[int]) -> int:
    """Values that a training step of one sample holds at its peak, the network's weights apart.

    Forward and backward pass run on tensors that have a shape and no data. The peak counts every layer's output that
    the backward pass needs, the gradients alive beside them, and the input; training-only parts are included. It
    is what nnU-Net's networks estimate from the outputs of their convolutions, and grows with memory in the same way.

    Args:
        network: Network in any mode; not changed.
        input_channels: Channels of the input.
        input_size: Spatial size of the input, in voxels.
    """
    stand_ins = TensorsWithoutData()
    with stand_ins:
        # what deepcopy takes for copied already; the weights themselves are not copied
        copied: dict[int, Any] = {id(b): torch.empty(b.shape, dtype=b.dtype) for b in network.buffers()}
        for weight in network.parameters():
            copied[id(weight)] = nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype), weight.requires_grad)
    copy = deepcopy(network, copied).train()
    with stand_ins, TensorBytes([*copy.parameters(), *copy.buffers()]) as counted:
        output = copy(torch.empty(1, input_channels, *input_size))
        results = [leaf for leaf in leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
        torch.autograd.backward(results, [torch.empty_like(result) for result in results])
    return counted.peak // torch.float32.itemsize
