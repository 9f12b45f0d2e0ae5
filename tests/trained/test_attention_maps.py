"""Heat maps of a trained model folder over images on disk."""

import numpy as np
import pytest
import torch
from model_folders import CHECKPOINT, model_folder, write_images

from nnunet_ext.errors import UserError
from nnunet_ext.testing import Case
from nnunet_ext.trained.attention_maps import attention_of_case, load_attention_model
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    FuseUNetAttentionTrainer,
    FuseUNetTrainer,
    ModalityPairingTrainer,
)

CPU = torch.device("cpu")
FLAT = Case("2d", 2, (16, 16), ((1, 1), (2, 2), (2, 2)), ((3, 3),) * 3, channels=("T2", "T1ce"))
SOLID = Case(channels=("T2", "T1ce"))


def test_maps_of_one_window_are_the_networks(tmp_path):
    model = load_attention_model(model_folder(AttentionFusionTrainer, SOLID, tmp_path), "0", CHECKPOINT)
    case = attention_of_case(model, write_images(tmp_path, (16, 16, 16)), CPU)
    assert case.streams == ["T1ce"]  # the master, the dataset's second channel
    assert case.maps.shape == (3, 1, 16, 16, 16)
    data = torch.zeros(1, 2, 16, 16, 16)
    data[0, 1] = torch.as_tensor(case.images[0])
    with torch.no_grad():
        first = model.network.attention_maps(data)[0][0]  # depends on the master alone
    np.testing.assert_allclose(case.maps[0, 0], first[0, 0].numpy(), rtol=1e-4)
    # the deepest level has a quarter of the resolution: blocks of 4 voxels share a value
    deepest = case.maps[2, 0]
    np.testing.assert_allclose(deepest, deepest[::4, ::4, ::4].repeat(4, 0).repeat(4, 1).repeat(4, 2), rtol=1e-4)


@pytest.mark.parametrize(("case", "shape"), [(SOLID, (12, 30, 18)), (FLAT, (3, 12, 30))], ids=["3d", "2d"])
def test_image_of_any_size_is_covered(case, shape, tmp_path):
    model = load_attention_model(model_folder(FuseUNetAttentionTrainer, case, tmp_path), None, CHECKPOINT)
    result = attention_of_case(model, write_images(tmp_path, shape), CPU)
    assert result.streams == ["T1ce", "T2"]
    assert result.maps.shape == (3, 2, *shape)
    assert result.images.shape == (2, *shape)
    assert result.foreground.shape == shape
    assert len(result.spacing) == 3
    assert 0 < result.maps.min() <= result.maps.max() < 1


def test_slices_of_a_2d_model_are_independent(tmp_path):
    model = load_attention_model(model_folder(AttentionFusionTrainer, FLAT, tmp_path), None, CHECKPOINT)
    files = write_images(tmp_path, (3, 16, 16))
    before = attention_of_case(model, files, CPU)
    with torch.no_grad():
        image = torch.as_tensor(before.images[0, 1])[None, None]
        heat = model.network.attention_maps(torch.cat([image, image], dim=1))[0][0]
    np.testing.assert_allclose(before.maps[0, 0, 1], heat[0, 0].numpy(), rtol=1e-4)


def test_wrong_images_raise(tmp_path):
    model = load_attention_model(model_folder(AttentionFusionTrainer, FLAT, tmp_path), None, CHECKPOINT)
    with pytest.raises(UserError, match=r"reads 2 images \(T2, T1ce\), got 1"):
        attention_of_case(model, write_images(tmp_path, (3, 16, 16), n_channels=1), CPU)
    with pytest.raises(UserError, match=r"nowhere\.nii\.gz does not exist"):
        attention_of_case(model, [tmp_path / "nowhere.nii.gz"] * 2, CPU)


@pytest.mark.parametrize(
    ("trainer_class", "message"),
    [(FuseUNetTrainer, "FuseUNetTrainer has no attention"), (ModalityPairingTrainer, "not of the attention fusion")],
)
def test_model_without_attention_raises(trainer_class, message, tmp_path):
    folder = model_folder(trainer_class, FLAT, tmp_path)
    with pytest.raises(UserError, match=message):
        load_attention_model(folder, None, CHECKPOINT)


def test_wrong_folder_and_fold_raise(tmp_path):
    with pytest.raises(UserError, match=r"no plans\.json"):
        load_attention_model(tmp_path, None, CHECKPOINT)
    folder = model_folder(AttentionFusionTrainer, FLAT, tmp_path)
    with pytest.raises(UserError, match=r"no checkpoint_final\.pth for fold 3"):
        load_attention_model(folder, "3", CHECKPOINT)
