"""Heat maps of a trained model folder over images on disk."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
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
    assert 0 < result.maps.min() <= result.maps.max() <= 1  # a sigmoid is rounded to 1 from about 17 on


def test_slices_of_a_2d_model_are_independent(tmp_path):
    model = load_attention_model(model_folder(AttentionFusionTrainer, FLAT, tmp_path), None, CHECKPOINT)
    files = write_images(tmp_path, (3, 16, 16))
    before = attention_of_case(model, files, CPU)
    with torch.no_grad():
        image = torch.as_tensor(before.images[0, 1])[None, None]
        heat = model.network.attention_maps(torch.cat([image, image], dim=1))[0][0]
    np.testing.assert_allclose(before.maps[0, 0, 1], heat[0, 0].numpy(), rtol=1e-4)


def labelled(tmp_path, labels, spacing=(1.0, 1.0, 1.0)):
    image = SimpleITK.GetImageFromArray(labels.astype(np.uint8))
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(tmp_path / "reference.nii.gz"))
    return tmp_path / "reference.nii.gz"


def test_reference_lies_on_the_networks_grid_and_changes_nothing_else(tmp_path):
    case = replace(FLAT, ignore=True)
    model = load_attention_model(model_folder(AttentionFusionTrainer, case, tmp_path), None, CHECKPOINT)
    files = write_images(tmp_path, (3, 16, 20))
    for file in files:
        array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
        array[1, :3, :3] = 0  # background that nnU-Net masks, although the reference has labels in it
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((2.0, 2.0, 1.0))  # the model's pixels are 1 mm wide
        SimpleITK.WriteImage(image, str(file))
    labels = np.zeros((3, 16, 20))
    labels[1, :2, :2] = 2
    labels[1, 4:10, 6:8] = 2
    labels[1, 10:12, 6:8] = 4  # ignored
    result = attention_of_case(model, files, CPU, labelled(tmp_path, labels, (2.0, 2.0, 1.0)))
    without = attention_of_case(model, files, CPU)
    assert without.reference is None
    np.testing.assert_array_equal(result.maps, without.maps)
    doubled = labels.repeat(2, 1).repeat(2, 2)
    # resampled, not copied: the edge may be a pixel off
    assert abs(int(result.reference.foreground.sum()) - int((doubled == 2).sum())) <= 20
    assert result.reference.foreground[1, 10:18, 13:15].all()
    assert result.reference.ignored[1, 21:23, 13:15].all()
    assert not (result.reference.foreground & result.reference.ignored).any()
    assert not result.reference.foreground[[0, 2]].any()


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ((3, 16, 15), 1, r"shape \(3, 16, 15\), expected \(3, 16, 16\)"),
        ((3, 16, 16), 9, r"label values \[9\] are not in"),
    ],
)
def test_reference_that_does_not_fit_raises(shape, value, message, tmp_path):
    model = load_attention_model(model_folder(AttentionFusionTrainer, FLAT, tmp_path), None, CHECKPOINT)
    files = write_images(tmp_path, (3, 16, 16))
    labels = np.zeros(shape)
    labels[0, 0, 0] = value
    with pytest.raises(UserError, match=message):
        attention_of_case(model, files, CPU, labelled(tmp_path, labels))
    with pytest.raises(UserError, match="no such file"):
        attention_of_case(model, files, CPU, tmp_path / "nowhere.nii.gz")


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
