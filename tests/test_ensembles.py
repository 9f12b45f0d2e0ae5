"""What nnU-Net averages over folds and over folders, as docs/ensembles.md says, and the commands of that page."""

import json
import pickle
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from label_cases import read_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from typer.main import get_command

from nnunet_ext import plugin
from nnunet_ext.cli import app
from nnunet_ext.planning.plans_file import plans_with_settings
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import ModalityPairingTrainer

PAGE = Path(__file__).parents[1] / "docs" / "ensembles.md"
SHAPE = (3, 4, 5)
PROPERTIES = {
    "sitk_stuff": {"spacing": (1, 1, 1), "origin": (0, 0, 0), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)},
    "spacing": [1, 1, 1],
}


def segmentation_of(probabilities, regions):
    """Labels from mean probabilities, written out for the labels of nnunet_ext.testing."""
    if not regions:
        return probabilities.argmax(0)
    whole, core, enhancing = probabilities > 0.5
    return np.where(enhancing, 3, np.where(core, 1, np.where(whole, 2, 0)))


@pytest.mark.parametrize(("regions", "num_models"), [(True, 10), (False, 5)])
def test_ensemble_command_averages_probabilities_with_equal_weights(tmp_path, regions, num_models):
    case = Case(regions=regions)
    generator = np.random.default_rng(0)
    probabilities = generator.random((num_models, case.num_classes, *SHAPE), dtype=np.float32)
    folders = [tmp_path / f"model_{index}" for index in range(num_models)]
    for folder, of_model in zip(folders, probabilities, strict=True):
        folder.mkdir()
        (folder / "plans.json").write_text(json.dumps(case.plans))
        (folder / "dataset.json").write_text(json.dumps(case.dataset_json))
        np.savez_compressed(folder / "case.npz", probabilities=of_model)
        (folder / "case.pkl").write_bytes(pickle.dumps(PROPERTIES))
    command = Path(sys.executable).with_name("nnUNetv2_ensemble")
    arguments = ["-i", *folders, "-o", tmp_path / "ensemble", "-np", "1"]
    subprocess.run([command, *arguments], check=True, capture_output=True)
    expected = segmentation_of(probabilities.mean(0), regions)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(read_image(tmp_path / "ensemble" / "case.nii.gz"), expected)


def test_one_prediction_over_several_folds_averages_logits(tmp_path, monkeypatch):
    case = Case(regions=True)
    model = tmp_path / "model"
    torch.manual_seed(0)
    for fold in (0, 1):
        trainer = make_trainer(ModalityPairingTrainer, case, tmp_path / str(fold))
        for parameter in trainer.network.parameters():
            torch.nn.init.normal_(parameter, std=1.0)  # far apart, so that the two means differ
        trainer.inference_allowed_mirroring_axes = None
        (model / f"fold_{fold}").mkdir(parents=True)
        trainer.save_checkpoint(str(model / f"fold_{fold}" / "checkpoint_final.pth"))
    (model / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (model / "dataset.json").write_text(json.dumps(case.dataset_json))
    monkeypatch.setenv("nnUNet_extTrainer", str(Path(plugin.__file__).parent))
    image = torch.randn(case.input_channels, *case.patch_size)

    def logits(*folds):
        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model), folds)
        return predictor.predict_logits_from_preprocessed_data(image).float()

    first, second, both = logits(0), logits(1), logits(0, 1)
    torch.testing.assert_close(both, (first + second) / 2, rtol=1e-2, atol=1e-2)  # half precision on the way
    assert (both.sigmoid() - (first.sigmoid() + second.sigmoid()) / 2).abs().max() > 0.05


def test_plans_of_another_name_share_the_preprocessed_data():
    case = Case()
    runs = [plans_with_settings(case.plans, f"Run{i}", ModalityPairingTrainer, case.dataset_json, {}) for i in range(2)]
    assert [plans["plans_name"] for plans in runs] == ["Run0", "Run1"]
    for plans in runs:
        assert plans["configurations"]["3d"]["data_identifier"] == case.plans["configurations"]["3d"]["data_identifier"]


def test_trainings_start_from_other_weights_in_every_process():
    command = [sys.executable, "-c", "import torch; print(torch.initial_seed())"]
    seeds = {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)}
    assert len(seeds) == 2


def test_commands_of_the_page_exist():
    commands = set(re.findall(r"\b(nnUNetv2_\w+)", PAGE.read_text()))
    assert len(commands) == 5
    assert commands <= {script.name for script in entry_points(group="console_scripts")}
    own = get_command(app)
    assert {"plan", "postprocess"} <= set(own.commands)  # type: ignore[attr-defined]
