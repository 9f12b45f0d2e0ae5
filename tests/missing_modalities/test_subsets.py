"""``nnunet_ext subsets`` on an untrained model, against nnU-Net's own prediction of completed files."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from label_cases import read_image, write_image
from model_folders import model_folder
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError, UserError
from nnunet_ext.host.prediction import LoadedModel
from nnunet_ext.missing_modalities.complete import complete_folder
from nnunet_ext.missing_modalities.subset_scores import choose_subsets, score_subsets
from nnunet_ext.missing_modalities.subsets import subset_name
from nnunet_ext.testing import Case
from nnunet_ext.trained.loaded_model import PredictionChoices, load_model
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers import BiFPNClassifierTrainer, ModalityPairingTrainer

NAMES = ("FLAIR", "T1ce")
SHAPE = (14, 16, 18)


def head(seed):
    """Noise in a box that differs by channel, so that nnU-Net's crop depends on which channels are there."""
    generator = np.random.default_rng(seed)
    image = np.zeros(SHAPE, np.float32)
    low = 1 + seed % 2
    image[low:12, 2:14, 2 : 15 + seed % 2] = generator.uniform(50, 200, image[low:12, 2:14, 2 : 15 + seed % 2].shape)
    return image


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Model of two modalities and two cases; its regions are those of BraTS."""
    torch.manual_seed(0)
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))
    case = Case(channels=NAMES, regions=True)
    for name in ("a", "b"):
        for channel in range(2):
            write_image(tmp_path / "images" / f"{name}_{channel:04d}.nii.gz", head(10 * (name == "b") + channel))
        labels = np.random.default_rng(3).integers(0, 4, SHAPE).astype(np.uint8)
        write_image(tmp_path / "labels" / f"{name}.nii.gz", labels)
    return model_folder(ModalityPairingTrainer, case, tmp_path)


def scored(model, tmp_path, **options):
    choices = PredictionChoices(str(model), mirroring=False)
    return score_subsets(choices, tmp_path / "images", tmp_path / "labels", tmp_path / "out", **options)


def test_subset_equals_nnunets_prediction_of_completed_files(model, tmp_path):
    scored(model, tmp_path, keep=[["T1ce"]])
    for name in ("a", "b"):
        (tmp_path / "part").mkdir(exist_ok=True)
        (tmp_path / "part" / f"{name}_0001.nii.gz").symlink_to(tmp_path / "images" / f"{name}_0001.nii.gz")
    content = [json.loads((model / f"{file}.json").read_text()) for file in ("dataset", "plans")]
    complete_folder(tmp_path / "part", tmp_path / "complete", *content, num_processes=1)
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), ("0",))
    files = [[str(tmp_path / "complete" / f"{name}_{channel:04d}.nii.gz") for channel in (0, 1)] for name in "ab"]
    expected = predictor.predict_from_files_sequential(files, None, overwrite=True)
    for name, segmentation in zip("ab", expected, strict=True):
        ours = read_image(tmp_path / "out" / "T1ce" / f"{name}.nii.gz")
        np.testing.assert_array_equal(ours, segmentation)
        assert len(np.unique(ours)) > 1


def test_tables_hold_every_subset_and_shapley_values_add_up(model, tmp_path):
    scores = scored(model, tmp_path)
    assert list(scores.table.index) == ["FLAIR", "T1ce", "FLAIR+T1ce"]
    assert list(scores.table.columns) == ["whole_tumor", "tumor_core", "enhancing_tumor", "mean"]
    assert scores.table.loc["T1ce", "mean"] == pytest.approx(scores.table.loc["T1ce"].iloc[:3].mean())
    # nothing given, nothing segmented: Dice 0, so the modalities' values add up to the Dice of all of them
    assert scores.worth.sum().to_numpy() == pytest.approx(scores.table.loc["FLAIR+T1ce"].to_numpy())
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored["subsets"]["T1ce"]["mean"] == pytest.approx(scores.table.loc["T1ce", "mean"])
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "| ○ | ● | " in page
    assert "Exact, from all 3 subsets" in page
    assert len(pd.read_csv(tmp_path / "out" / "dice.csv")) == 3 * 2 * 3  # subsets, cases, regions
    assert {"dice.png", "shapley.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_interrupted_call_continues_and_keeps_what_is_there(model, tmp_path):
    scored(model, tmp_path, keep=[["FLAIR"]])
    kept = tmp_path / "out" / "FLAIR" / "a.nii.gz"
    write_image(kept, np.zeros(SHAPE, np.uint8))
    scores = scored(model, tmp_path)
    assert not read_image(kept).any()
    flair = scores.dice[(scores.dice["subset"] == "FLAIR") & (scores.dice["case"] == "a")]
    assert (flair["dice"] == 0).all()
    with pytest.raises(InputError, match="predictions of other mirroring"):
        score_subsets(PredictionChoices(str(model)), tmp_path / "images", tmp_path / "labels", tmp_path / "out")


def test_prediction_that_was_cut_off_is_not_kept(model, tmp_path, monkeypatch):
    whole = LoadedModel.predict

    def cut_off(self, images, properties, stem):
        whole(self, images, properties, stem)
        file = stem.with_name(f"{stem.name}.nii.gz")
        file.write_bytes(file.read_bytes()[:-9])

    monkeypatch.setattr(LoadedModel, "predict", cut_off)
    with pytest.raises(InputError, match=r"a\.nii\.gz was cut off while being written"):
        scored(model, tmp_path, keep=[["FLAIR"]])
    assert list((tmp_path / "out").rglob("*.nii.gz")) == []
    monkeypatch.setattr(LoadedModel, "predict", whole)
    scored(model, tmp_path, keep=[["FLAIR"]])


def test_estimate_says_that_it_is_one(model, tmp_path):
    scores = scored(model, tmp_path, n_orders=1)
    assert len(scores.subsets) == 2
    assert "An estimate from 1 random orders (2 subsets), not exact" in (tmp_path / "out" / "summary.md").read_text()


def test_many_modalities_need_a_choice():
    names = [f"m{index}" for index in range(7)]
    with pytest.raises(UserError, match="7 modalities have 127 subsets"):
        choose_subsets(names, (), None)
    assert choose_subsets(names, [["m3", "m1"]], None) == [(1, 3)]
    assert len(choose_subsets(names[:6], (), None)) == 63
    with pytest.raises(UserError, match="'T9' does not exist"):
        choose_subsets(names, [["T9"]], None)


def test_incomplete_case_and_missing_reference_are_refused(model, tmp_path):
    (tmp_path / "images" / "b_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="case b has FLAIR only"):
        scored(model, tmp_path)
    for channel in range(2):
        (tmp_path / "images" / f"b_{channel:04d}.nii.gz").unlink(missing_ok=True)
    (tmp_path / "labels" / "a.nii.gz").unlink()
    with pytest.raises(InputError, match=r"a\.nii\.gz: no such reference"):
        scored(model, tmp_path)
    assert not (tmp_path / "out").exists()


def test_command_prints_dots_and_names(model, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    arguments = ["-i", tmp_path / "images", "-r", tmp_path / "labels", "-o", tmp_path / "out", "--device", "cpu"]
    arguments += ["--disable_tta", "--keep", "T1ce"]
    run = CliRunner().invoke(app, ["subsets", str(model), *map(str, arguments)], catch_exceptions=False)
    assert run.exit_code == 0
    assert "○" in run.output
    assert "whole_tumor" in run.output


def test_name_joins_the_channels():
    assert subset_name((0, 1), NAMES) == "FLAIR+T1ce"


@pytest.mark.parametrize(("mirroring", "axes"), [(True, (0, 1, 2)), (False, ())])
def test_slice_networks_which_mirror_their_input_themselves_are_told_not_to(mirroring, axes, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))
    folder = model_folder(BiFPNClassifierTrainer, Case(channels=NAMES, regions=True), tmp_path)
    loaded = load_model(PredictionChoices(str(folder), mirroring=mirroring), torch.device("cpu"))
    assert loaded.network.mirror_axes == axes
