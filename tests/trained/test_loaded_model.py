"""Models of others: nothing in them runs before it has been looked at."""

import json
import os

import pytest
import torch
from model_folders import CHECKPOINT, model_folder

from nnunet_ext.errors import UserError
from nnunet_ext.testing import Case
from nnunet_ext.trained.loaded_model import PredictionChoices, load_model
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers import ModalityPairingTrainer


class Program:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("PWNED",)


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))
    return model_folder(ModalityPairingTrainer, Case(channels=("T1", "T2")), tmp_path)


def load(model):
    return load_model(PredictionChoices(str(model)), torch.device("cpu"))


def test_sound_model_is_loaded(model):
    assert type(load(model).network).__name__ == "ModalityPairingUNet"


def test_program_in_a_checkpoint_does_not_run(model, tmp_path):
    file = model / "fold_0" / CHECKPOINT
    content = torch.load(file, weights_only=False)
    torch.save(content | {"logging": Program()}, file)
    with pytest.raises(UserError, match=r"checkpoint_final\.pth: wants to use posix\.mkdir"):
        load(model)
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"network_class_name": "os.mkdir", "arch_kwargs": {"path": "PWNED"}, "_kw_requires_import": []},
        {"nonlin": "os.mkdir", "nonlin_kwargs": {"path": "PWNED"}},
    ],
)
def test_program_in_plans_does_not_run(model, tmp_path, changes):
    plans = json.loads((model / "plans.json").read_text())
    entry = plans["configurations"]["3d"]["architecture"]
    (entry if "arch_kwargs" in changes else entry["arch_kwargs"]).update(changes)
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match=r"names 'os\.mkdir'"):
        load(model)
    assert not (tmp_path / "PWNED").exists()
