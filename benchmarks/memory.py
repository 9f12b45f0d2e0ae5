"""Peak memory (the allocator's count on a GPU, counted tensor bytes on the CPU) and memory traffic of a function."""

import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _TensorBytes(TorchDispatchMode):
    """Bytes of all storages that operators return, while they are alive; scratch inside kernels is not seen."""

    def __init__(self):
        super().__init__()
        self.current = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return outputs

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.current -= size


class _Traffic(TorchDispatchMode):
    """Bytes of the tensors that operators read and write; views cost nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, outputs)) if isinstance(x, torch.Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return outputs


def memory_traffic(function: Callable[[], object]) -> int:
    """Bytes that ``function``'s operators read and write, each operator on its own as without fusion."""
    with _Traffic() as counted:
        function()
    return counted.bytes


def peak_memory(function: Callable[[], object], device: torch.device) -> int:
    """Most bytes that ``function`` holds at any time beyond what is allocated before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _TensorBytes() as counted:
        function()
    return counted.peak
