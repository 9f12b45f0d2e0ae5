"""Sum and gradient over two real processes."""

from datetime import timedelta

import torch
from torch import distributed, multiprocessing

from nnunet_ext.losses.process_sum import sum_over_processes


def _square_of_sum(rank, folder):
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    x = torch.tensor([1.0, 10.0]) * (rank + 1)
    x.requires_grad_()
    total = sum_over_processes(x)
    total.square().sum().backward()
    torch.save((total.detach(), x.grad), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_share_sum_and_gradient(tmp_path):
    multiprocessing.spawn(_square_of_sum, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        total, gradient = torch.load(tmp_path / f"{rank}.pt")
        assert total.tolist() == [3.0, 30.0]
        # Two equal losses, each with the derivative 2 * total.
        assert gradient.tolist() == [12.0, 120.0]


def test_one_process_gets_the_tensor_itself():
    x = torch.rand(3)
    assert sum_over_processes(x) is x
