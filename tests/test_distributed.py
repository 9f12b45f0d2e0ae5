"""Two processes on gloo train as one process does on the whole batch: no unused parameter, same gradients, same log."""

import socket

import numpy as np
import pytest
import torch
from balanced_classifier import balance_classifier
from torch import distributed as dist
from torch import multiprocessing, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainerNoDA,
    AutoencoderRegularizedTrainerNNUNetDA,
    EarlyFuseUNetTrainer,
    ModalityDropoutTrainer,
)

# those left out have the network and the loss of another, and change the augmentation alone
JOBS = {
    trainer.__name__: (trainer, Case())
    for trainer in TRAINERS
    if trainer not in (AttentionFusionTrainerNoDA, AutoencoderRegularizedTrainerNNUNetDA)
} | {"Dice over the batch": (EarlyFuseUNetTrainer, Case(settings={"batch_dice": True}))}

# PyTorch starts its autograd threads at the first backward, and processes forked after that cannot use them. On a CPU
# there are none to start, unless a test has made fake tensors or compiled before. So the first backward is here.
torch.zeros(1, requires_grad=True).sum().backward()


def without_chance(network):
    """Dropout off: what it drops depends on the batch."""
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        elif isinstance(module, nn.LSTM):
            module.dropout = 0.0


def epoch(trainer, batches):
    """Gradients of the last step, and what the log says of an epoch; DDP notices late what a step left unused."""
    log = trainer.logger.local_logger.my_fantastic_logging
    for values in log.values():
        values.clear()
    trainer.network.train()
    steps = []
    for images, target in batches:
        trainer.network.zero_grad()
        loss = trainer.forward_and_loss(images, target)
        loss.backward()
        steps.append({"loss": loss.detach().numpy()})
    # by value: tensors shared between processes end with the process that made them
    gradients = [p.grad.numpy().copy() for p in trainer.network.parameters()]
    trainer.on_train_epoch_end(steps)
    trainer.network.eval()
    with torch.no_grad():
        validation = [trainer.validation_step({"data": images, "target": target}) for images, target in batches]
    trainer.on_validation_epoch_end(validation)
    return gradients, {name: values[-1] for name, values in log.items() if values}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def half_of(batch, rank):
    images, target = batch
    part = slice(rank, rank + 1)
    return images[part], [t[part] for t in target] if isinstance(target, list) else target[part]


def worker(rank, port, jobs, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name, trainer, batches in jobs:
        try:
            trainer.network = DistributedDataParallel(trainer.network)
            trainer.is_ddp, trainer.local_rank = True, rank
            results.put((rank, name, epoch(trainer, [half_of(batch, rank) for batch in batches]), None))
        except Exception as error:
            results.put((rank, name, None, repr(error)))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Name of a job -> gradients and log of one process, and of each of two processes (or the error)."""
    context = multiprocessing.get_context("fork")
    jobs, single = [], {}
    monkeypatch = pytest.MonkeyPatch()
    # the autoencoder's sample is its mean, here and in the processes that are forked
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    for name, (trainer_class, case) in JOBS.items():
        torch.manual_seed(0)
        trainer = make_trainer(trainer_class, case, tmp_path_factory.mktemp("trainer"))
        trainer.modality_dropout.probability = 0.0  # it draws differently in each process, on purpose
        trainer.is_ddp = True  # the loss as nnU-Net builds it for DDP
        trainer.loss = trainer._build_loss()
        trainer.is_ddp = False
        # float64: in float32 the rounding of another batch size can flip a maximum or a ReLU
        batches = [(images.double(), target) for images, target in (make_batch(trainer, case, s) for s in range(2))]
        trainer.network = trainer.network.double()
        without_chance(trainer.network)
        if getattr(trainer.network, "classifier", None) is not None:
            balance_classifier(trainer.network, batches[0][0])
            for _, target in batches:
                finest = target[0] if isinstance(target, list) else target
                finest[0, :, :5] = 0  # slices without any region, in one half alone
        single[name] = epoch(trainer, batches)
        jobs.append((name, trainer, batches))
    port = free_port()
    results = context.Queue()
    processes = [context.Process(target=worker, args=(rank, port, jobs, results)) for rank in range(2)]
    for process in processes:
        process.start()
    monkeypatch.undo()
    received = [results.get(timeout=300) for _ in range(2 * len(jobs))]
    for process in processes:
        process.join(60)
    return {
        name: (alone, {rank: (value, error) for rank, n, value, error in received if n == name})
        for name, alone in single.items()
    }


def train_with_dropout(rank, port, trainer, batches, results):
    """An epoch in one of two processes: sets of modalities that the network was given, and its weights at the end."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    given = []
    try:
        trainer.network = DistributedDataParallel(trainer.network)
        trainer.local_rank = rank
        trainer.network.register_forward_pre_hook(
            lambda _, inputs: given.extend(tuple(bool(channel.any()) for channel in sample) for sample in inputs[0])
        )
        trainer.on_train_epoch_start()
        losses = [trainer.train_step({"data": images, "target": target}) for images, target in batches]
        trainer.on_train_epoch_end(losses)
        results.put((rank, given, [p.detach().numpy().copy() for p in trainer.network.parameters()]))
    except Exception as error:
        results.put((rank, given, repr(error)))
    dist.destroy_process_group()


def test_processes_drop_different_modalities_and_train_one_network(tmp_path):
    case, context = Case(), multiprocessing.get_context("fork")
    trainer = make_trainer(ModalityDropoutTrainer, case, tmp_path)
    trainer.is_ddp = True
    trainer.loss = trainer._build_loss()  # as nnU-Net builds it for several processes
    before = [p.detach().numpy().copy() for p in trainer.network.parameters()]
    batches = [make_batch(trainer, case, seed) for seed in range(4)]  # the same in both: what differs is the draw
    results, port = context.Queue(), free_port()
    processes = [
        context.Process(target=train_with_dropout, args=(rank, port, trainer, batches, results)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    received = {rank: rest for rank, *rest in (results.get(timeout=120) for _ in processes)}
    for process in processes:
        process.join(60)
    (sets, weights), (other_sets, other_weights) = received[0], received[1]
    assert not isinstance(weights, str), weights
    assert not isinstance(other_weights, str), other_weights
    assert len(sets) == len(other_sets) == 8
    assert all(any(present) for present in [*sets, *other_sets])
    assert sum(a != b for a, b in zip(sets, other_sets, strict=True)) >= 4
    assert all(np.array_equal(a, b) for a, b in zip(weights, other_weights, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(weights, before, strict=True))


every_network = pytest.mark.parametrize("name", JOBS)


@every_network
def test_no_parameter_is_unused(name, outcomes):
    _, ranks = outcomes[name]
    assert [ranks[rank][1] for rank in range(2)] == [None, None]


@every_network
def test_gradients_are_those_of_one_process_on_the_whole_batch(name, outcomes):
    (expected, _), ranks = outcomes[name]
    for rank in range(2):
        for alone, shared in zip(expected, ranks[rank][0][0], strict=True):
            np.testing.assert_allclose(shared, alone, rtol=1e-3, atol=1e-5)


@every_network
def test_epoch_is_logged_as_one_process_logs_it(name, outcomes):
    (_, expected), ranks = outcomes[name]
    for rank in range(2):
        log = ranks[rank][0][1]
        assert log.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(log[key], value, rtol=1e-4, atol=1e-6, err_msg=key)
