"""Which changes a training may go on with, and which it refuses."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from nnunet_ext.files.checkpoint import read_checkpoint
from nnunet_ext.plans import settings
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import AttentionFusionTrainer, AttentionFusionTrainerNoDA, ModalityPairingTrainer, base
from nnunet_ext.trainers.continuation import ContinuationError, differences


def saved(folder, trainer_class=ModalityPairingTrainer, **settings):
    """Checkpoint of a new training, and its weights."""
    trainer = make_trainer(trainer_class, Case(settings=settings), folder)
    trainer.save_checkpoint(str(folder / "checkpoint.pth"))
    return str(folder / "checkpoint.pth"), trainer.network.state_dict()


def has_weights(trainer, weights):
    return all(torch.equal(value, weights[name]) for name, value in trainer.network.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairing_weight": 0.25}, "Setting pairing_weight is 0.25 now; the checkpoint was trained with 0.5"),
        (
            {"modality_groups": [["FLAIR", "T1"], ["T1ce", "T2"]]},
            "Setting modality_groups is .*differs .*modality_g",
        ),
    ],
)
def test_other_network_or_loss_is_refused_before_anything_is_loaded(settings, message, tmp_path):
    file, weights = saved(tmp_path)
    resumed = make_trainer(ModalityPairingTrainer, Case(settings=settings), tmp_path)
    with pytest.raises(ContinuationError, match=message) as caught:
        resumed.load_checkpoint(file)
    assert '"continue_with_changes": true to the block "nnunet_ext" of' in str(caught.value)
    assert str(caught.value).endswith("Dataset999_Case/nnUNetPlans.json.")
    assert not has_weights(resumed, weights)
    assert resumed.current_epoch == 0


def test_who_asks_for_it_continues_with_changes_and_next_time_they_are_none(tmp_path):
    file, weights = saved(tmp_path)
    changed = {"pairing_weight": 0.25}
    resumed = make_trainer(ModalityPairingTrainer, Case(settings={**changed, "continue_with_changes": True}), tmp_path)
    resumed.load_checkpoint(file)
    assert has_weights(resumed, weights)
    assert "Setting pairing_weight is 0.25 now; the checkpoint" in Path(resumed.log_file).read_text()
    resumed.save_checkpoint(file)
    make_trainer(ModalityPairingTrainer, Case(settings=changed), tmp_path).load_checkpoint(file)


def test_course_of_the_training_may_change_and_the_log_says_so(tmp_path):
    file, weights = saved(tmp_path)
    course = {"num_epochs": 7, "save_every": 1, "initial_lr": 0.005, "warmup_epochs": 2}
    resumed = make_trainer(ModalityPairingTrainer, Case(settings=course), tmp_path)
    resumed.load_checkpoint(file)
    assert has_weights(resumed, weights)
    log = Path(resumed.log_file).read_text()
    assert all(f"Setting {name} is {value} now" in log for name, value in course.items())


def test_checkpoint_of_a_sibling_is_refused(tmp_path):
    file, _ = saved(tmp_path, AttentionFusionTrainerNoDA)
    resumed = make_trainer(AttentionFusionTrainer, Case(), tmp_path)
    message = "Trainer is AttentionFusionTrainer now; the checkpoint is of AttentionFusionTrainerNoDA"
    with pytest.raises(ContinuationError, match=message):
        resumed.load_checkpoint(file)


@pytest.fixture
def training(tmp_path):
    """Content of a checkpoint, and arguments of `differences` for the training that it is of."""
    file, _ = saved(tmp_path)
    trainer = make_trainer(ModalityPairingTrainer, Case(), tmp_path)
    now = ("ModalityPairingTrainer", trainer.plans_manager.plans, "3d", trainer.settings)
    return torch.load(file, weights_only=False), now


def test_unchanged_training_has_no_differences(training):
    checkpoint, now = training
    assert differences(checkpoint, *now) == ([], [])


def test_changed_entry_of_the_network_is_a_difference(training):
    checkpoint, (name, plans, configuration, settings) = training
    plans = deepcopy(plans)
    plans["configurations"]["3d"]["architecture"]["arch_kwargs"]["strides"][1] = [1, 2, 2]
    found = differences(checkpoint, name, plans, configuration, settings)
    assert found == ([], ["The network differs from the checkpoint's in strides."])


def test_arguments_and_settings_that_came_after_the_checkpoint_are_no_differences(training):
    checkpoint, now = training
    then = checkpoint["init_args"]["plans"]
    del then["configurations"]["3d"]["architecture"]["arch_kwargs"]["strides"]
    del then["nnunet_ext"]["pairing_weight"]
    assert differences(checkpoint, *now) == ([], [])


def test_other_configuration_is_a_difference(training):
    checkpoint, now = training
    checkpoint["init_args"]["configuration"] = "2d"
    assert differences(checkpoint, *now).major == ["Configuration is 3d now; the checkpoint is of 2d."]


def test_log_and_checkpoint_say_what_trained_and_another_commit_may_go_on(tmp_path, monkeypatch):
    file, weights = saved(tmp_path)
    monkeypatch.setattr(base, "version_text", lambda: "0.1.0, commit another")
    monkeypatch.setattr(settings, "commit", lambda: "another")
    resumed = make_trainer(ModalityPairingTrainer, Case(), tmp_path)
    resumed.load_checkpoint(file)
    assert has_weights(resumed, weights)
    log = Path(resumed.log_file).read_text()
    assert "nnunet_ext 0.1.0, commit another; nnunetv2 " in log
    assert "now; the checkpoint" not in log
    resumed.save_checkpoint(file)
    written_by = read_checkpoint(Path(file), weights=False)["init_args"]["plans"]["nnunet_ext"]["written_by"]
    assert written_by == {"version": "0.1.0", "commit": "another"}
