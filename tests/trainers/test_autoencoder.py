"""Trainers of autoencoder regularization: what they write into plans, optimizer, augmentation, picture."""

import json

import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from matplotlib.image import imread
from torch import nn

from nnunet_ext.architectures.autoencoder_branch import AutoencoderOutput
from nnunet_ext.augmentation.intensity_shift import IntensityShiftTransform
from nnunet_ext.plans.settings import SettingsError
from nnunet_ext.testing import Case, make_batch, make_trainer, training_transforms
from nnunet_ext.trainers import AutoencoderRegularizedTrainer, AutoencoderRegularizedTrainerNNUNetDA

FIVE_STAGES = Case(
    patch_size=(16, 16, 32),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 2)),
    kernel_sizes=((3, 3, 3),) * 5,
    settings={"dropout": 0.3},
)


def test_plans_describe_four_levels_of_doubling_width(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, FIVE_STAGES, tmp_path)
    written = trainer.plans_manager.plans["configurations"]["3d"]["architecture"]
    json.dumps(written)
    assert written["network_class_name"] == "nnunet_ext.architectures.SegResNetVAE"
    assert written["arch_kwargs"] == {
        "n_stages": 4,
        "features_per_stage": [4, 8, 16, 32],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 4,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 2, 2, 4],
        "dropout_op": "torch.nn.modules.dropout.Dropout3d",
        "dropout_op_kwargs": {"p": 0.3},
        "patch_size": [16, 16, 32],
        "image_channels": 4,
        "inference_only": False,
    }
    assert trainer.network.encoder.stages[0][1].p == 0.3


def test_cascade_reconstructs_the_image_channels_only(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(cascade=True), tmp_path)
    assert (trainer.network.input_channels, trainer.network.image_channels) == (7, 4)


def test_adam_decays_convolution_kernels_and_nothing_else(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(), tmp_path)
    assert type(trainer.optimizer) is torch.optim.Adam
    names = {id(parameter): name for name, parameter in trainer.network.named_parameters()}
    decayed, others = ([names[id(p)] for p in group["params"]] for group in trainer.optimizer.param_groups)
    assert sorted(decayed + others) == sorted(names.values())
    kernels = [f"{name}.weight" for name, module in trainer.network.named_modules() if isinstance(module, nn.Conv3d)]
    assert decayed == kernels
    assert "autoencoder.to_distribution.weight" in others
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [1e-5, 0.0]


def test_learning_rate_follows_equation_5(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(), tmp_path)
    for epoch in (0, 150, 299):
        trainer.lr_scheduler.step(epoch)
        expected = 1e-4 * (1 - epoch / 300) ** 0.9
        assert [g["lr"] for g in trainer.optimizer.param_groups] == pytest.approx([expected] * 2)


def test_weights_and_reduction_reach_the_loss(tmp_path):
    settings = {"reconstruction_weight": 0.5, "kl_weight": 0.0, "reconstruction_reduction": "sum"}
    loss = make_trainer(AutoencoderRegularizedTrainer, Case(settings=settings), tmp_path).loss
    assert loss.component_names == ("segmentation", "reconstruction")
    assert loss.auxiliary["reconstruction"][0] == 0.5
    image = torch.full((1, 2, 4, 4, 4), 2.0)
    output = AutoencoderOutput(torch.zeros_like(image), image, torch.zeros(1, 1), torch.zeros(1, 1))
    assert loss.auxiliary["reconstruction"][1](output, None) == 4 * 128  # not the mean, 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reconstruction_weight": 0}, "greater than 0"),
        ({"dropout": 1.0}, "less than 1"),
        ({"reconstruction_reduction": "median"}, "'mean' or 'sum'"),
        ({"intensity_scale": 1.5}, "less than 1"),
    ],
)
def test_settings_out_of_range_raise(settings, message, tmp_path):
    with pytest.raises(SettingsError, match=message):
        make_trainer(AutoencoderRegularizedTrainer, Case(settings=settings), tmp_path)


def test_patch_too_small_for_the_levels_raises(tmp_path):
    with pytest.raises(ValueError, match="too small for 3 levels"):
        make_trainer(AutoencoderRegularizedTrainer, Case(patch_size=(2, 16, 16)), tmp_path)


@pytest.mark.parametrize("regions", [False, True])
def test_papers_augmentation_cuts_patches_at_their_final_size(regions, tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(regions=regions), tmp_path)
    _, _, initial, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert tuple(initial) == (16, 16, 16)
    assert mirror_axes == trainer.inference_allowed_mirroring_axes == (0, 1, 2)
    transforms = training_transforms(trainer)
    assert [type(t).__name__ for t in transforms.transforms] == [
        "IntensityShiftTransform",
        "MultiplicativeBrightnessTransform",
        "MirrorTransform",
        "MaskImageTransform",
        "ComposeTransforms",
    ]
    assert transforms.transforms[2].allowed_axes == (0, 1, 2)
    sample = {"image": torch.randn(4, 16, 16, 16), "segmentation": torch.randint(-1, 4, (1, 16, 16, 16)).short()}
    result = transforms(**sample)
    assert result["image"].shape == (4, 16, 16, 16)
    assert result["segmentation"].shape == (3 if regions else 1, 16, 16, 16)
    assert result["segmentation"].min() == 0


def test_variant_has_nnunets_augmentation_and_the_same_network_and_settings(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainerNNUNetDA, Case(), tmp_path)
    paper = make_trainer(AutoencoderRegularizedTrainer, Case(), tmp_path)
    transforms = training_transforms(trainer).transforms
    assert any(isinstance(transform, SpatialTransform) for transform in transforms)
    assert not any(isinstance(transform, IntensityShiftTransform) for transform in transforms)
    assert trainer.settings == paper.settings
    assert str(trainer.network) == str(paper.network)


@pytest.mark.parametrize("case", [Case(regions=True), Case("2d", 2, (32, 16), ((1, 1), (2, 2)), ((3, 3),) * 2)])
def test_end_of_training_writes_the_reconstruction(case, tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, case, tmp_path)
    images, target = make_batch(trainer, case)
    trainer.dataloader_train = None
    trainer.dataloader_val = iter([{"data": images, "target": target}])
    trainer.on_train_end()
    folder = tmp_path / "nnUNet_results"
    (picture,) = folder.rglob("reconstruction.png")
    assert imread(picture).shape[:2] == (540, 1000)  # four channels
    assert list(folder.rglob("checkpoint_final.pth"))
