"""Two processes on gloo: no unused parameter, and gradients as of one process on the whole batch."""

import socket

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from nnunet_ext.losses import CompositeLoss
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import TRAINERS

# trainer -> reason why a sample's loss depends on the other samples of its batch, or on random numbers
NOT_A_MEAN_OVER_SAMPLES: dict[str, str] = {
    "AutoencoderRegularizedTrainer": "dropout and the autoencoder's sample are random",
    "AutoencoderRegularizedTrainerNNUNetDA": "dropout and the autoencoder's sample are random",
    "BiFPNClassifierTrainer": "dropout in the encoder and between LSTM layers",
    "BiFPNTrainer": "dropout in the encoder",
    "NestedUNetClassifierTrainer": "dropout between LSTM layers",
}

# PyTorch starts its autograd threads at the first backward, and processes forked after that cannot use them. On a CPU
# there are none to start, unless a test has made fake tensors or compiled before. So the first backward is here.
torch.zeros(1, requires_grad=True).sum().backward()


def training_steps(trainer, batches):
    """Gradients and logged components of the last step; DDP notices in a later step what one before left unused."""
    components = {}
    for images, target in batches:
        trainer.network.zero_grad()
        trainer.forward_and_loss(images, target).backward()
        components = trainer.loss.pop_component_means() if isinstance(trainer.loss, CompositeLoss) else {}
    # by value: tensors shared between processes end with the process that made them
    return [p.grad.numpy().copy() for p in trainer.network.parameters()], components


def half_of(batch, rank):
    images, target = batch
    part = slice(rank, rank + 1)
    return images[part], [t[part] for t in target] if isinstance(target, list) else target[part]


def worker(rank, port, jobs, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name, trainer, batches in jobs:
        try:
            halves = [half_of(batch, rank) for batch in batches]
            trainer.network = DistributedDataParallel(trainer.network)
            results.put((rank, name, training_steps(trainer, halves), None))
        except Exception as error:
            results.put((rank, name, None, repr(error)))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Trainer name -> gradients and components of one process, and of each of two processes (or the error)."""
    context = multiprocessing.get_context("fork")
    monkeypatch = pytest.MonkeyPatch()
    jobs, single = [], {}
    for trainer_class in TRAINERS:
        name = trainer_class.__name__
        torch.manual_seed(0)
        trainer = make_trainer(trainer_class, Case(), tmp_path_factory.mktemp(name))
        trainer.modality_dropout.probability = 0.0  # it draws differently in each process, on purpose
        trainer.is_ddp = True  # the loss as nnU-Net builds it for DDP
        trainer.loss = trainer._build_loss()
        # float64: in float32 the rounding of another batch size can flip a maximum or a ReLU
        batches = [(images.double(), target) for images, target in (make_batch(trainer, Case(), s) for s in range(2))]
        trainer.network = trainer.network.double().train()
        single[name] = training_steps(trainer, batches)
        jobs.append((name, trainer, batches))
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
        name: (alone, {rank: (value, error) for rank, n, value, error in received if n == name})
        for name, alone in single.items()
    }


@pytest.mark.parametrize("name", [trainer.__name__ for trainer in TRAINERS])
def test_two_processes_agree_and_leave_no_parameter_unused(name, outcomes):
    _, ranks = outcomes[name]
    assert [ranks[rank][1] for rank in range(2)] == [None, None]
    for a, b in zip(ranks[0][0][0], ranks[1][0][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


means_over_samples = pytest.mark.parametrize(
    "name", [t.__name__ for t in TRAINERS if t.__name__ not in NOT_A_MEAN_OVER_SAMPLES]
)


@means_over_samples
def test_gradients_are_those_of_one_process_on_the_whole_batch(name, outcomes):
    (grads, _), ranks = outcomes[name]
    for expected, actual in zip(grads, ranks[0][0][0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)


@means_over_samples
def test_components_averaged_over_processes_are_those_of_one_process(name, outcomes):
    (_, components), ranks = outcomes[name]
    for component, expected in components.items():
        actual = [ranks[rank][0][1][component] for rank in range(2)]
        assert sum(actual) / 2 == pytest.approx(expected, rel=1e-4, abs=1e-6)
