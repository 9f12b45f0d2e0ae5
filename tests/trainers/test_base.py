"""Interruption and non-finite losses: nothing is half-written, and nothing poisons the weights."""

from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_ext.files.checkpoint import UnreadableCheckpointError, check_readable
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import ModalityPairingTrainer
from nnunet_ext.trainers.base import NonFiniteLossError


@pytest.fixture
def trainer(tmp_path):
    return make_trainer(ModalityPairingTrainer, Case(), tmp_path)


def weights(trainer):
    return [p.detach().clone() for p in trainer.network.parameters()]


def batch_of(trainer, **more):
    images, target = make_batch(trainer, Case())
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


def test_component_that_is_not_finite_is_named_alone(trainer):
    weight, _ = trainer.loss.auxiliary["modality_pairing"]
    trainer.loss.auxiliary["modality_pairing"] = (weight, lambda features, _: features[0].sum() * float("nan"))
    trainer.network.train()
    with pytest.raises(NonFiniteLossError, match="not finite: modality_pairing;"):
        trainer.train_step(batch_of(trainer, keys=["a"]))


def test_with_a_gradient_scaler_the_loss_is_looked_at_after_the_step(trainer, monkeypatch):
    monkeypatch.setattr(nnUNetTrainer, "train_step", lambda self, batch: {"loss": torch.tensor(float("nan")).numpy()})
    trainer.network.train()
    with pytest.raises(NonFiniteLossError, match="loss is nan in step 1"):
        trainer.train_step({"keys": ["a"]})


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


def test_killed_while_writing_a_checkpoint_the_one_before_stays(trainer, tmp_path, monkeypatch):
    file = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(file))
    complete = file.read_bytes()

    def cut_off(checkpoint, filename):
        Path(filename).write_bytes(complete[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(str(file))
    assert file.read_bytes() == complete


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
    with pytest.raises(UnreadableCheckpointError, match=r"checkpoint_latest\.pth cannot be read.*checkpoint_best\.pth"):
        trainer.load_checkpoint(str(latest))


def test_truncated_checkpoint_without_another_says_so(tmp_path):
    (tmp_path / "checkpoint_latest.pth").write_bytes(b"nothing")
    with pytest.raises(UnreadableCheckpointError, match="train again without --c"):
        check_readable(tmp_path / "checkpoint_latest.pth")


def test_missing_checkpoint_is_not_called_truncated(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_readable(tmp_path / "checkpoint_latest.pth")
