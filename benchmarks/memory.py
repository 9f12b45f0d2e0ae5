"""Peak memory (the allocator's count on a GPU, counted tensor bytes on the CPU) and memory traffic of a function."""

from collections.abc import Callable, Iterable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnunet_ext.counting.tensor_bytes import TensorBytes


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


def peak_memory(function: Callable[[], object], device: torch.device, held: Iterable[torch.Tensor] = ()) -> int:
    """Most bytes that ``function`` holds at any time beyond what is allocated before it.

    Args:
        function: Called once.
        device: Where its tensors are.
        held: Tensors allocated before; on the CPU a view of another one counts as new.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with TensorBytes(held) as counted:
        function()
    return counted.peak
