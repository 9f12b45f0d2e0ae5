"""Folds that were trained with other plans are refused, those with the same are not; of our trainers and nnU-Net's."""

import json
import os

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.errors import UserError
from nnunet_ext.files.fold_lock import LOCK
from nnunet_ext.files.locks import try_lock
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import ModalityPairingTrainer
from nnunet_ext.workflow.fold_plans import OtherPlansError, check_fold_plans
from nnunet_ext.workflow.fold_training import prepare_fold


class Fold:
    """A fold with a checkpoint that nnU-Net wrote, and the plans that it was trained with."""

    def __init__(self, trainer_class, root, monkeypatch, checkpoint="checkpoint_final.pth", case=None):
        case = case or Case(settings={"num_epochs": 5})
        self.preprocessed = root / "nnUNet_preprocessed" / "Dataset999_Case"
        self.trainer = make_trainer(trainer_class, case, root)
        self.folder = (
            root / "nnUNet_results" / "Dataset999_Case" / f"{trainer_class.__name__}__nnUNetPlans__3d" / "fold_0"
        )
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            monkeypatch.setenv(variable, str(root / variable))
        self.trainer.save_checkpoint(str(self.folder / checkpoint))
        (self.preprocessed / "dataset.json").write_text(json.dumps(case.dataset_json))
        self.plans = case.plans
        self.write()

    def write(self):
        (self.preprocessed / "nnUNetPlans.json").write_text(json.dumps(self.plans))

    def check(self):
        check_fold_plans(self.folder, self.preprocessed)


@pytest.fixture(params=[ModalityPairingTrainer, nnUNetTrainer], ids=lambda trainer: trainer.__name__)
def fold(request, tmp_path, monkeypatch):
    return Fold(request.param, tmp_path, monkeypatch)


def test_same_plans_pass_and_nothing_is_written(fold):
    before = sorted(fold.folder.rglob("*"))
    fold.check()
    assert prepare_fold(fold.folder)[0] == ["--val"]
    assert {path.name for path in set(fold.folder.rglob("*")) - set(before)} == {"training.lock"}


def test_other_batch_is_refused(fold):
    fold.plans["configurations"]["3d"]["batch_size"] = 13
    fold.write()
    with pytest.raises(
        OtherPlansError, match=r"3d\.batch_size \(2 there, 13 here\)\. To train this fold again, delete"
    ):
        prepare_fold(fold.folder)


def test_other_network_is_refused(fold):
    fold.plans["configurations"]["3d"]["architecture"]["arch_kwargs"]["features_per_stage"] = [8, 16, 32]
    fold.write()
    with pytest.raises(OtherPlansError, match="features_per_stage"):
        fold.check()


def test_configurations_that_are_not_trained_do_not_matter(fold):
    fold.plans["configurations"]["2d"] = {"inherits_from": "3d", "batch_size": 90}
    fold.write()
    fold.check()


def test_without_plans_there_is_nothing_to_compare(fold):
    (fold.preprocessed / "nnUNetPlans.json").unlink()
    fold.check()


@pytest.fixture
def pairing(tmp_path, monkeypatch):
    return Fold(ModalityPairingTrainer, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_epochs": 6}, r"nnunet_ext\.num_epochs \(5 there, 6 here\)"),
        ({}, r"nnunet_ext\.num_epochs \(5 there, 1000 here\)"),
        ({"num_epochs": 5, "pairing_weight": 0.0}, r"nnunet_ext\.pairing_weight \(0.5 there, 0.0 here\)"),
    ],
)
def test_other_settings_are_refused(pairing, settings, message):
    pairing.plans["nnunet_ext"] = settings
    pairing.write()
    with pytest.raises(OtherPlansError, match=message):
        pairing.check()


def test_who_asks_for_it_continues_with_changes(pairing):
    pairing.plans["nnunet_ext"] = {"pairing_weight": 0.0, "continue_with_changes": True}
    pairing.write()
    pairing.check()


def test_defaults_that_are_given_are_no_difference(pairing):
    pairing.plans["nnunet_ext"] = {"num_epochs": 5, "pairing_weight": 0.5}
    pairing.write()
    pairing.check()


def change_checkpoint(fold, change):
    file = fold.folder / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    change(content)
    torch.save(content, file)


def test_setting_that_the_checkpoint_does_not_know_counts_if_it_is_given(pairing):
    change_checkpoint(pairing, lambda content: content["init_args"]["plans"]["nnunet_ext"].pop("pairing_weight"))
    pairing.check()
    pairing.plans["nnunet_ext"]["pairing_weight"] = 0.0
    pairing.write()
    with pytest.raises(OtherPlansError, match=r"pairing_weight \(nothing there, 0.0 here\)"):
        pairing.check()


def test_training_that_was_interrupted_is_not_continued_with_other_plans(tmp_path, monkeypatch):
    fold = Fold(ModalityPairingTrainer, tmp_path, monkeypatch, "checkpoint_latest.pth")
    assert prepare_fold(fold.folder)[0] == ["--c"]
    os.close(try_lock(fold.folder / LOCK))
    fold.plans["nnunet_ext"] = {"num_epochs": 6}
    fold.write()
    with pytest.raises(OtherPlansError, match=r"checkpoint_latest\.pth was trained with other plans"):
        prepare_fold(fold.folder)


def test_what_is_no_checkpoint_is_one_message(pairing):
    change_checkpoint(pairing, lambda content: content.pop("init_args"))
    with pytest.raises(UserError, match="has no init_args, as a checkpoint of nnU-Net v2 has"):
        pairing.check()
