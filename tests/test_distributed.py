"""Two processes on gloo: no unused parameter, and gradients as of one process on the whole batch."""

import socket

import pytest
import torch
from cases import Case, make_batch, make_trainer
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from nnunet_ext.trainers import TRAINERS

# trainer -> reason why a sample's loss depends on the other samples of its batch, or on random numbers
NOT_A_MEAN_OVER_SAMPLES: dict[str, str] = {
    "BiFPNClassifierTrainer": "dropout in the encoder and between LSTM layers",
    "BiFPNTrainer": "dropout in the encoder",
    "NestedUNetClassifierTrainer": "dropout between LSTM layers",
}

# PyTorch starts its autograd threads at the first backward, and processes forked after that cannot use them. On a CPU
# there are none to start, unless a test has made fake tensors or compiled before. So the first backward is here.
torch.zeros(1, requires_grad=True).sum().backward()


def training_steps(network, loss_function, batches):
    """Gradients of the last of several steps; DDP notices in a later step what the one before left unused."""
    for images, target in batches:
        network.zero_grad()
        loss_function(network(images), target).backward()
    return [p.grad.clone() for p in network.parameters()]


def half_of(batch, rank):
    images, target = batch
    part = slice(rank, rank + 1)
    return images[part], [t[part] for t in target] if isinstance(target, list) else target[part]


def worker(rank, port, jobs, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name, network, loss_function, batches in jobs:
        try:
            grads = training_steps(
                DistributedDataParallel(network), loss_function, [half_of(batch, rank) for batch in batches]
            )
            # by value: a shared tensor would end with this process
            results.put((rank, name, [g.numpy() for g in grads], None))
        except Exception as error:
            results.put((rank, name, None, repr(error)))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Trainer name -> gradients of one process, and of each of two processes (or the error)."""
    context = multiprocessing.get_context("fork")
    monkeypatch = pytest.MonkeyPatch()
    jobs, single = [], {}
    for trainer_class in TRAINERS:
        name = trainer_class.__name__
        trainer = make_trainer(trainer_class, Case(), tmp_path_factory.mktemp(name), monkeypatch)
        trainer.is_ddp = True  # the loss as nnU-Net builds it for DDP
        loss_function = trainer._build_loss()
        batches = [make_batch(trainer, Case(), seed) for seed in range(2)]
        network = trainer.network.train()
        single[name] = training_steps(network, loss_function, batches)
        jobs.append((name, network, loss_function, batches))
    monkeypatch.undo()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    results = context.Queue()
    processes = [context.Process(target=worker, args=(rank, port, jobs, results)) for rank in range(2)]
    for process in processes:
        process.start()
    received = [results.get(timeout=300) for _ in range(2 * len(jobs))]
    for process in processes:
        process.join(60)
    return {
        name: (grads, {rank: (value, error) for rank, n, value, error in received if n == name})
        for name, grads in single.items()
    }


@pytest.mark.parametrize("name", [trainer.__name__ for trainer in TRAINERS])
def test_two_processes_agree_and_leave_no_parameter_unused(name, outcomes):
    _, ranks = outcomes[name]
    assert [ranks[rank][1] for rank in range(2)] == [None, None]
    for a, b in zip(ranks[0][0], ranks[1][0], strict=True):
        torch.testing.assert_close(torch.from_numpy(a), torch.from_numpy(b))


@pytest.mark.parametrize("name", [t.__name__ for t in TRAINERS if t.__name__ not in NOT_A_MEAN_OVER_SAMPLES])
def test_gradients_are_those_of_one_process_on_the_whole_batch(name, outcomes):
    grads, ranks = outcomes[name]
    for expected, actual in zip(grads, ranks[0][0], strict=True):
        torch.testing.assert_close(torch.from_numpy(actual), expected, rtol=1e-3, atol=1e-5)
