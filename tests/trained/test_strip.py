"""Models without training-only weights."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from typer.testing import CliRunner

from nnunet_ext import plugin
from nnunet_ext.cli import app
from nnunet_ext.errors import InputError, UserError
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trained.strip import StripError, strip_model
from nnunet_ext.trainers import (
    AutoencoderRegularizedTrainer,
    HostAutoencoderTrainer,
    HostClassifierTrainer,
    ModalityDropoutTrainer,
    ModalityPairingTrainer,
)

CASE = Case(regions=True)


def trained_model(trainer_class, folder):
    """A model folder of two folds as nnU-Net leaves it, after one optimizer step so that there is optimizer state."""
    trainer = make_trainer(trainer_class, CASE, folder)
    for parameter in trainer.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer.optimizer.step()
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    model = folder / "model"
    for fold in range(2):
        (model / f"fold_{fold}").mkdir(parents=True)
        trainer.save_checkpoint(str(model / f"fold_{fold}" / "checkpoint_final.pth"))
        (model / f"fold_{fold}" / "progress.png").touch()
    (model / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (model / "dataset.json").write_text(json.dumps(CASE.dataset_json))
    return model


def predict(model, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", os.path.dirname(plugin.__file__))
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0, 1))
    image = torch.randn(4, 20, 18, 17, generator=torch.Generator().manual_seed(3))
    return predictor.predict_logits_from_preprocessed_data(image), predictor.network


def test_branch_classifiers_of_modality_pairing_are_training_only(tmp_path, monkeypatch):
    monkeypatch.setitem(CASE.settings, "branch_loss_weight", 0.5)
    model = trained_model(ModalityPairingTrainer, tmp_path)
    strip_model(model, tmp_path / "slim")
    before, network = predict(model, monkeypatch)
    after, slim = predict(tmp_path / "slim", monkeypatch)
    assert torch.equal(before, after)
    assert network.branch_classifiers is not None
    assert slim.branch_classifiers is None


def test_stripped_model_predicts_the_same_bits_with_nnunets_predictor(tmp_path, monkeypatch):
    model = trained_model(AutoencoderRegularizedTrainer, tmp_path)
    sizes = strip_model(model, tmp_path / "slim")
    before, network = predict(model, monkeypatch)
    after, slim = predict(tmp_path / "slim", monkeypatch)
    assert torch.equal(before, after)
    assert network.autoencoder is not None
    assert slim.autoencoder is None
    assert len(sizes) == 2
    for file, old, new in sizes:
        assert file.stat().st_size == new < old / 2
        checkpoint = torch.load(file, weights_only=False)
        assert not any(name.startswith("autoencoder") for name in checkpoint["network_weights"])
        assert "optimizer_state" not in checkpoint
        saved = checkpoint["init_args"]["plans"]["configurations"]["3d"]["architecture"]["arch_kwargs"]
        assert saved["inference_only"] is True


def test_model_without_training_only_parts_keeps_all_weights(tmp_path, monkeypatch):
    model = trained_model(ModalityPairingTrainer, tmp_path)
    strip_model(model, tmp_path / "slim")
    before, after = predict(model, monkeypatch)[0], predict(tmp_path / "slim", monkeypatch)[0]
    assert torch.equal(before, after)


def test_original_is_left_as_it_was_and_training_can_start_from_the_stripped_plans(tmp_path):
    model = trained_model(AutoencoderRegularizedTrainer, tmp_path)
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    strip_model(model, tmp_path / "slim")
    assert {file: file.read_bytes() for file in model.rglob("*") if file.is_file()} == before
    plans = json.loads((tmp_path / "slim" / "plans.json").read_text())
    trainer = make_trainer(AutoencoderRegularizedTrainer, CASE, tmp_path, plans=plans)
    assert trainer.network.autoencoder is not None


def test_command_writes_the_copy_and_says_how_to_predict(tmp_path):
    model = trained_model(AutoencoderRegularizedTrainer, tmp_path)
    result = CliRunner().invoke(app, ["strip", str(model), "-o", str(tmp_path / "slim")])
    assert result.exit_code == 0
    assert "fold_0/checkpoint_final.pth" in result.stdout
    assert f"nnUNetv2_predict_from_modelfolder -m {tmp_path / 'slim'}" in result.stdout
    assert sorted(file.name for file in (tmp_path / "slim").iterdir()) == [
        "dataset.json",
        "fold_0",
        "fold_1",
        "plans.json",
    ]


def test_stripped_model_is_exported_by_nnunet_and_predicts_after_the_import(tmp_path, monkeypatch):
    model = trained_model(AutoencoderRegularizedTrainer, tmp_path)
    for fold in range(2):
        (model / f"fold_{fold}" / "progress.png").write_text("curves")
        (model / f"fold_{fold}" / "validation").mkdir()
        (model / f"fold_{fold}" / "validation" / "summary.json").write_text("{}")
        (model / f"fold_{fold}" / "validation" / "case.nii.gz").touch()
        (model / f"fold_{fold}" / "debug.json").write_text("{}")
    (model / "dataset_fingerprint.json").write_text("{}")
    (model / "crossval_results_folds_0_1").mkdir()
    for name in ("summary.json", "postprocessing.pkl", "postprocessing.json", "case.nii.gz"):
        (model / "crossval_results_folds_0_1" / name).write_text(name)
    name = Path("Dataset999_Case", "AutoencoderRegularizedTrainer__nnUNetPlans__3d")
    strip_model(model, tmp_path / "slim" / name)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "slim"))
    export_pretrained_model(
        "Dataset999_Case",
        str(tmp_path / "model.zip"),
        configurations=("3d",),
        trainer="AutoencoderRegularizedTrainer",
        folds=(0, 1),
    )
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "imported"))
    install_model_from_zip_file(str(tmp_path / "model.zip"))
    imported = tmp_path / "imported" / name
    assert torch.equal(predict(model, monkeypatch)[0], predict(imported, monkeypatch)[0])
    assert (imported / "crossval_results_folds_0_1" / "postprocessing.pkl").read_text() == "postprocessing.pkl"
    assert (imported / "fold_1" / "progress.png").read_text() == "curves"
    assert not list((tmp_path / "slim").rglob("case.nii.gz"))


def test_what_cannot_be_stripped_is_said_and_leaves_nothing(tmp_path):
    with pytest.raises(StripError, match="is not a trained model"):
        strip_model(tmp_path, tmp_path / "slim")
    model = trained_model(AutoencoderRegularizedTrainer, tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    with pytest.raises(InputError, match="taken exists already"):
        strip_model(model, tmp_path / "taken")
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["3d"]["architecture"]["network_class_name"] = "some.other.Network"
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(StripError, match=r"some\.other\.Network"):
        strip_model(model, tmp_path / "slim")
    assert not (tmp_path / "slim").exists()


@pytest.mark.parametrize("output", ["model", "model/slim", "model/fold_0/../slim", "link"])
def test_model_is_not_stripped_into_itself(output, tmp_path):
    model = trained_model(ModalityPairingTrainer, tmp_path)
    (tmp_path / "link").symlink_to(model)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StripError, match=r"is the model's own folder, or in it\. Choose another folder with -o"):
        strip_model(model, tmp_path / output)
    assert sorted(tmp_path.rglob("*")) == before


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-100])


def damage_weights(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def without_configuration(file):
    file.write_text(json.dumps({"configurations": {}}))


def with_code(file):
    torch.save({"network_weights": {}, "trainer_name": "", "init_args": os.getcwd}, file)


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("fold_1/checkpoint_final.pth", cut_off, r"fold_1/checkpoint_final\.pth: was cut off"),
        ("fold_1/checkpoint_final.pth", damage_weights, r"fold_1/checkpoint_final\.pth: is damaged"),
        ("fold_1/checkpoint_final.pth", with_code, r"fold_1/checkpoint_final\.pth: wants to use \w+\.getcwd"),
        ("plans.json", cut_off, r"plans\.json is no JSON, perhaps it was cut off"),
        ("plans.json", without_configuration, r"plans\.json has no configuration '3d'"),
        ("dataset.json", cut_off, r"dataset\.json is no JSON, perhaps it was cut off"),
        ("dataset.json", Path.unlink, r"dataset\.json cannot be read: No such file"),
    ],
)
def test_damaged_model_is_one_message_and_leaves_nothing(file, spoil, message, tmp_path):
    model = trained_model(ModalityPairingTrainer, tmp_path)
    spoil(model / file)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        strip_model(model, tmp_path / "slim")
    assert sorted(tmp_path.rglob("*")) == before


def test_full_disk_is_one_message_and_leaves_nothing(tmp_path, monkeypatch):
    def copy(source, target):
        Path(target).touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    model = trained_model(ModalityPairingTrainer, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(shutil, "copy2", copy)
    with pytest.raises(InputError, match=r"/slim cannot be written: the disk of /.* is full"):
        strip_model(model, tmp_path / "slim")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("trainer_class", [ModalityDropoutTrainer, HostAutoencoderTrainer])
def test_stripped_model_of_nnunets_own_network_predicts_without_this_package(trainer_class, tmp_path, monkeypatch):
    model = trained_model(trainer_class, tmp_path)
    before, _ = predict(model, monkeypatch)
    strip_model(model, tmp_path / "slim")
    code = """
import sys, torch
sys.modules["nnunet_ext"] = None  # as if it were not installed
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
predictor.initialize_from_trained_model_folder(sys.argv[1], (0, 1))
image = torch.randn(4, 20, 18, 17, generator=torch.Generator().manual_seed(3))
torch.save(predictor.predict_logits_from_preprocessed_data(image), sys.argv[2])
"""
    environment = {name: value for name, value in os.environ.items() if name != "nnUNet_extTrainer"}
    command = [sys.executable, "-c", code, str(tmp_path / "slim"), str(tmp_path / "logits.pt")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert torch.equal(torch.load(tmp_path / "logits.pt"), before)


def test_stripped_model_with_a_classifier_keeps_its_gate_and_loses_its_branch(tmp_path, monkeypatch):
    monkeypatch.setitem(CASE.settings, "autoencoder_branch", True)
    model = trained_model(HostClassifierTrainer, tmp_path)
    strip_model(model, tmp_path / "slim")
    before, network = predict(model, monkeypatch)
    after, slim = predict(tmp_path / "slim", monkeypatch)
    assert torch.equal(before, after)
    assert (network.autoencoder is None, slim.autoencoder is None) == (False, True)
    assert slim.classifier is not None
    checkpoint = torch.load(tmp_path / "slim" / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == "HostClassifierTrainer"
    assert not any("autoencoder" in name for name in checkpoint["network_weights"])
