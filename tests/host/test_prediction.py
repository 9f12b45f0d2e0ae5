"""nnU-Net's tiles. Preprocessing, loaded models and export run in the tests of what uses them."""

import json

import pytest
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

from nnunet_ext.host.prediction import LoadedModel, tile_starts, tile_weight
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import ModalityPairingTrainer


def test_tiles_overlap_by_half_and_cover_the_image():
    assert tile_starts((32, 16), (16, 16)) == [[0, 8, 16], [0]]


def test_weight_is_highest_in_the_centre_and_nowhere_zero():
    weight = tile_weight((8, 8, 8))
    assert (weight.shape, weight.dtype) == ((8, 8, 8), torch.float32)
    assert weight[4, 4, 4] == weight.max() == pytest.approx(10, rel=1e-3)
    assert 0 < weight[0, 0, 0] < 0.1 * weight.max()


@pytest.mark.parametrize("name", ["run_case", "run_case_npy"])
def test_nnunets_preprocessor_has(name):
    assert hasattr(DefaultPreprocessor, name), name


@pytest.mark.parametrize(
    "name",
    ["initialize_from_trained_model_folder", "predict_logits_from_preprocessed_data", "plans_manager", "network"],
)
def test_nnunets_predictor_has(name):
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    assert hasattr(predictor, name), name


@pytest.mark.parametrize("name", ["read_images", "read_seg", "supported_file_endings"])
def test_nnunets_reader_has(name):
    assert hasattr(SimpleITKIO, name), name


def test_model_of_an_unknown_trainer_is_not_found(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    trainer = make_trainer(ModalityPairingTrainer, Case(), tmp_path)
    (tmp_path / "model" / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(tmp_path / "model" / "fold_0" / "checkpoint_final.pth"))
    (tmp_path / "model" / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (tmp_path / "model" / "dataset.json").write_text(json.dumps(Case().dataset_json))
    with pytest.raises(LookupError, match="ModalityPairingTrainer"):
        LoadedModel(tmp_path / "model", ["0"], "checkpoint_final.pth", mirroring=False, device=torch.device("cpu"))
