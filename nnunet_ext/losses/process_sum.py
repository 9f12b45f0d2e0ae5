"""Sum of a tensor over the processes of a distributed training, with gradient."""

from typing import Any

import torch
from torch import Tensor, distributed


class _ProcessSum(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        # Every process's loss depends on this process's tensor.
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum over all processes, the same in each; the tensor itself without distributed training.

    With it, sums over the batch are sums over the whole batch of a distributed training. The gradient is that of the
    sum of all processes' losses, which DistributedDataParallel then divides by their number.
    """
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        return _ProcessSum.apply(tensor)
    return tensor
