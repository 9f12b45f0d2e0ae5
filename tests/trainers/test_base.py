"""Interruption and non-finite losses: nothing is half-written, and nothing poisons the weights."""

import errno
import math
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from other_process import holding
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_ext.errors import InputError
from nnunet_ext.files.checkpoint import UnreadableCheckpointError
from nnunet_ext.files.fold_lock import LOCK, TrainingError
from nnunet_ext.files.locks import try_lock
from nnunet_ext.planning.training_step import step_cost
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
)
from nnunet_ext.trainers.base import NonFiniteLossError


@pytest.fixture
def trainer(tmp_path):
    return make_trainer(ModalityPairingTrainer, Case(), tmp_path)


def weights(trainer):
    return [p.detach().clone() for p in trainer.network.parameters()]


def batch_of(trainer, seed=0, **more):
    images, target = make_batch(trainer, Case(), seed)
    return {"data": images, "target": target, **more}


def test_non_finite_loss_stops_with_step_component_and_cases_and_keeps_the_weights(trainer):
    trainer.network.train()
    trainer.train_step(batch_of(trainer, keys=["case_1", "case_2"]))
    before = weights(trainer)
    batch = batch_of(trainer, keys=["case_7", "case_9"])
    batch["data"][0, 0, 0, 0, 0] = float("inf")
    with pytest.raises(
        NonFiniteLossError, match=r"step 2 of epoch 0; not finite: segmentation, modality_pairing; .*case_7, case_9"
    ):
        trainer.train_step(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))
    assert "case_7, case_9" in Path(trainer.log_file).read_text()


def test_seed_decides_weights_and_draws(tmp_path):
    def made(index, **settings):
        torch.manual_seed(index)
        np.random.seed(index)  # nnU-Net's augmentation draws from it
        trainer = make_trainer(ModalityPairingTrainer, Case(settings=settings), tmp_path / str(index))
        return weights(trainer)[0], torch.rand(3), np.random.rand(3), random.random()

    first, again, other, *unseeded = made(0, seed=5), made(1, seed=5), made(2, seed=6), made(3), made(4)
    assert all((a == b).all() if hasattr(a, "all") else a == b for a, b in zip(first, again, strict=True))
    assert not any((a == b).all() if hasattr(a, "all") else a == b for a, b in zip(first, other, strict=True))
    assert not torch.equal(unseeded[0][0], unseeded[1][0])


def test_component_that_is_not_finite_is_named_alone(trainer):
    weight, _ = trainer.loss.auxiliary["modality_pairing"]
    trainer.loss.auxiliary["modality_pairing"] = (weight, lambda output, _: output.features[0].sum() * float("nan"))
    trainer.network.train()
    with pytest.raises(NonFiniteLossError, match="not finite: modality_pairing;"):
        trainer.train_step(batch_of(trainer, keys=["a"]))


def test_with_a_gradient_scaler_a_loss_that_is_not_finite_stops_and_keeps_the_weights(tmp_path):
    trainer = make_trainer(ModalityPairingTrainer, Case(), tmp_path, scaler=True)
    before = weights(trainer)
    batch = batch_of(trainer, keys=["a"])
    batch["data"][0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteLossError, match="loss is nan in step 1"):
        trainer.train_step(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


@pytest.mark.parametrize("scaler", [False, True])
@pytest.mark.parametrize(
    "trainer_class",
    [
        ModalityPairingTrainer,
        AutoencoderRegularizedTrainer,
        AttentionFusionTrainer,
        BiFPNClassifierTrainer,
        NestedUNetClassifierTrainer,
    ],
)
def test_training_step_is_nnunets_to_the_last_bit(trainer_class, scaler, tmp_path):
    outcomes = []
    for step in (trainer_class.train_step, nnUNetTrainer.train_step):
        torch.manual_seed(0)
        trainer = make_trainer(trainer_class, Case(), tmp_path, scaler=scaler)
        trainer.network.train()
        trainer.loss.register_forward_hook(lambda *arguments: 1000 * arguments[-1])  # gradients that are clipped
        losses = [step(trainer, batch_of(trainer, seed=seed))["loss"] for seed in range(3)]
        outcomes.append(([float(loss) for loss in losses], weights(trainer)))
    (losses, own), (expected_losses, expected) = outcomes
    assert losses == expected_losses
    assert all(torch.equal(a, b) for a, b in zip(own, expected, strict=True))


def test_gradients_are_clipped_at_the_setting(tmp_path):
    trainer = make_trainer(ModalityPairingTrainer, Case(settings={"gradient_clipping": 0.25}), tmp_path)
    trainer.train_step(batch_of(trainer))
    norms = torch.stack([p.grad.norm() for p in trainer.network.parameters() if p.grad is not None])
    assert float(norms.norm()) == pytest.approx(0.25, rel=1e-4)


class TwicePairing(ModalityPairingTrainer):
    """Two forward passes, of which the second sees half of the images' values."""

    def forward_and_loss(self, images, target):
        """Sum of both losses."""
        return super().forward_and_loss(images, target) + super().forward_and_loss(images / 2, target)


def test_method_that_changes_the_step_is_trained_and_planned_so(tmp_path):
    trainer = make_trainer(TwicePairing, Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    with torch.no_grad():
        expected = sum(trainer.loss(trainer.network(i), target) for i in (images, images / 2))
    assert trainer.train_step({"data": images, "target": target})["loss"] == pytest.approx(float(expected), rel=1e-6)
    once, twice = (
        step_cost(t, Case().plans, "3d", Case().dataset_json, count_operations=True)
        for t in (ModalityPairingTrainer, TwicePairing)
    )
    assert twice.operations == pytest.approx(2 * once.operations, rel=0.01)
    assert twice.passes > 1.5 * once.passes


def test_second_loss_of_a_step_that_is_not_finite_stops_it(tmp_path):
    class SecondIsInfinite(ModalityPairingTrainer):
        def forward_and_loss(self, images, target):
            return super().forward_and_loss(images, target) + super().forward_and_loss(images * torch.inf, target)

    trainer = make_trainer(SecondIsInfinite, Case(), tmp_path)
    before = weights(trainer)
    with pytest.raises(NonFiniteLossError, match="not finite: segmentation"):
        trainer.train_step(batch_of(trainer))
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


class ScalarReads(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: reading a number out of a tensor."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_training_step_reads_no_more_numbers_from_the_device_than_nnunets(tmp_path):
    reads = {}
    for trainer_class in (nnUNetTrainer, ModalityPairingTrainer):
        trainer = make_trainer(trainer_class, Case(), tmp_path / trainer_class.__name__, scaler=True)
        trainer.network.train()
        with ScalarReads() as counted:
            trainer.train_step(batch_of(trainer))
        reads[trainer_class] = counted.count
    assert reads[ModalityPairingTrainer] == reads[nnUNetTrainer] > 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_while_writing_a_checkpoint_the_one_before_stays_and_training_goes_on(trainer, tmp_path):
    file = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(file))
    complete = file.read_bytes()

    def killed_half_way():
        def cut_off(checkpoint, filename):
            Path(filename).write_bytes(complete[: len(complete) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

        torch.save = cut_off  # in the forked process alone
        trainer.save_checkpoint(str(file))

    process = multiprocessing.get_context("fork").Process(target=killed_half_way)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert file.read_bytes() == complete
    trainer.load_checkpoint(str(file))
    trainer.current_epoch = 5
    trainer.save_checkpoint(str(file))
    trainer.load_checkpoint(str(file))
    assert trainer.current_epoch == 6
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_of_the_data_loaders_end_with_a_killed_training(trainer, tmp_path, monkeypatch):
    lock = tmp_path / "worker"

    def work():
        assert try_lock(lock) is not None
        lock.with_suffix(".started").touch()
        time.sleep(60)

    def start_worker(_):
        multiprocessing.get_context("fork").Process(target=work, daemon=True).start()
        return "train", "validation"

    def train():
        assert trainer.get_dataloaders() == ("train", "validation")
        time.sleep(60)

    monkeypatch.setattr(nnUNetTrainer, "get_dataloaders", start_worker)
    process = multiprocessing.get_context("fork").Process(target=train)
    process.start()
    wait_until(lock.with_suffix(".started").exists)
    process.kill()
    process.join()
    wait_until(lambda: try_lock(lock) is not None, 10)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("method", ["on_train_start", "perform_actual_validation"])
def test_fold_in_training_is_refused_before_anything_is_written(method, trainer):
    folder = Path(trainer.output_folder)
    with holding(folder / LOCK):
        before = set(folder.rglob("*"))
        with pytest.raises(TrainingError, match="Another process trains"):
            getattr(trainer, method)()
        assert set(folder.rglob("*")) == before
        trainer.local_rank = 1  # the first rank has the lock
        trainer._lock_fold()


def test_ranks_do_not_wait_for_each_other_in_the_passes_of_validation(trainer, monkeypatch):
    """Modality pairing has buffers, which DDP sends to all ranks before the first pass."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        trainer.network = DistributedDataParallel(trainer.network)
        trainer.is_ddp = True
        sends = [trainer.network.will_sync_module_buffers()]
        validate = lambda self, save: sends.append(self.network.will_sync_module_buffers())  # noqa: E731
        monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", validate)
        trainer.perform_actual_validation()
    finally:
        dist.destroy_process_group()
    assert sends == [True, False]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_validation_ends_with_a_message_when_a_process_that_writes_predictions_is_killed(trainer, monkeypatch):
    """As nnU-Net's pool does, which it asks for a result that never comes."""

    def validate(self, save):
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.map(end_this_process, [None])

    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", validate)
    process = multiprocessing.get_context("fork").Process(target=trainer.perform_actual_validation)
    process.start()
    process.join(30)
    process.kill()
    assert process.exitcode == 1
    log = Path(trainer.log_file).read_text()
    assert "SIGKILL" in log
    assert "--val" in log


def end_this_process(_):
    time.sleep(1)  # no process of nnU-Net's ends in its first moment
    os.kill(os.getpid(), signal.SIGKILL)


def test_full_disk_is_seen_before_nnunet_replaces_the_plans_of_all_folds(trainer, monkeypatch):
    asked = []

    def full(descriptor, start, size):
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    plans = Path(trainer.output_folder_base) / "plans.json"
    plans.write_text("of an earlier fold")
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: plans.write_text(""))
    with pytest.raises(InputError, match=r"fold_0 cannot be written: the disk of .* is full"):
        trainer.on_train_start()
    assert plans.read_text() == "of an earlier fold"
    # room for the weights and as much again for each of Adam's moments
    assert asked[0] > 3 * 4 * sum(parameter.numel() for parameter in trainer.network.parameters())


def test_validation_loss_of_nan_does_not_stop_the_training(trainer):
    batch = batch_of(trainer)
    batch["data"][0, 0, 0, 0, 0] = float("nan")
    trainer.network.eval()
    with torch.no_grad():
        assert math.isnan(trainer.validation_step(batch)["loss"])


def test_disabled_checkpointing_writes_nothing(trainer, tmp_path):
    trainer.disable_checkpointing = True
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert list(tmp_path.glob("checkpoint*")) == []


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_truncated_checkpoint_names_the_one_to_use(part, trainer, tmp_path):
    best, latest = tmp_path / "checkpoint_best.pth", tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(best))
    content = best.read_bytes()
    latest.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UnreadableCheckpointError, match=r"checkpoint_latest\.pth: was cut off.*checkpoint_best\.pth"):
        trainer.load_checkpoint(str(latest))


def test_damaged_weights_are_seen_before_anything_is_loaded(trainer, tmp_path):
    file = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(file))
    weight = trainer.network.state_dict().popitem()[1].numpy().tobytes()
    file.write_bytes(file.read_bytes().replace(weight, b"x" + weight[1:]))
    before = weights(trainer)
    with pytest.raises(UnreadableCheckpointError, match=r"is damaged .*train again without --c"):
        trainer.load_checkpoint(str(file))
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))
