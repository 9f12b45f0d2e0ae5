"""The trainers' master modality, rows, loss, optimizer, schedule and plans."""

import json

import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from torch import nn

from nnunet_ext.losses import PlainDiceCrossEntropyLoss
from nnunet_ext.plans.modalities import ModalityError
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import SettingsError
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    AttentionFusionTrainerNoDA,
    AttentionUNetTrainer,
    EarlyFuseUNetTrainer,
    FuseNetConcatTrainer,
    FuseNetTrainer,
    FuseOriginUNetTrainer,
    FuseUNetAttentionTrainer,
    FuseUNetTrainer,
    LateFuseUNetTrainer,
    SingleModalityUNetTrainer,
)

# Table 1, millions of parameters
PUBLISHED = {
    SingleModalityUNetTrainer: 34.5,
    AttentionUNetTrainer: 34.7,
    FuseNetTrainer: 29.4,
    FuseNetConcatTrainer: 74.0,
    FuseOriginUNetTrainer: 56.2,
    EarlyFuseUNetTrainer: 34.5,
    LateFuseUNetTrainer: 25.1,
    FuseUNetTrainer: 26.7,
    FuseUNetAttentionTrainer: 26.8,
    AttentionFusionTrainer: 26.7,
    AttentionFusionTrainerNoDA: 26.7,
}


def trainer_for(case, tmp_path, trainer_class=AttentionFusionTrainer):
    return make_trainer(trainer_class, case, tmp_path)


@pytest.mark.parametrize("trainer_class", PUBLISHED, ids=lambda trainer: trainer.__name__)
def test_default_plans_give_the_network_of_the_trainers_row(trainer_class):
    levels = 7  # nnU-Net plans more levels than the paper has
    case = Case("2d", 2, (64, 64), ((1, 1),) + ((2, 2),) * 6, ((3, 3),) * levels, channels=("T2", "T1ce"), base=32)
    plans, _, _ = trainer_class.prepare_plans(case.plans, "2d", case.dataset_json)
    kwargs = dict(plans["configurations"]["2d"]["architecture"]["arch_kwargs"])
    assert (kwargs["n_stages"], len(kwargs["strides"])) == (5, 5)
    kwargs.update(conv_op=nn.Conv2d, norm_op=nn.InstanceNorm2d, nonlin=nn.LeakyReLU)
    with torch.device("meta"):
        network = trainer_class.network_class(input_channels=2, num_classes=1, **kwargs)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == PUBLISHED[trainer_class]


@pytest.mark.parametrize(
    ("channels", "settings", "streams", "guess"),
    [
        (("FLAIR", "t1gd"), {}, [[1], [0]], False),
        (("T1", "T1ce", "T2", "FLAIR"), {"master_modality": "t2w"}, [[2], [0], [1], [3]], False),
        (("b0", "b500", "b1000"), {}, [[0], [1], [2]], True),
        (("b0", "b500", "b1000"), {"master_modality": "b1000"}, [[2], [0], [1]], False),
    ],
)
def test_master_modality_is_found_by_name(channels, settings, streams, guess):
    case = Case(channels=channels, settings=settings)
    plans, resolved, notes = AttentionFusionTrainer.prepare_plans(case.plans, "3d", case.dataset_json)
    assert plans["configurations"]["3d"]["architecture"]["arch_kwargs"]["streams"] == streams
    assert resolved.master_modality == channels[streams[0][0]]
    assert any("the first one is the master" in note for note in notes) is guess


def test_unknown_master_modality_raises_and_lists_the_channels():
    case = Case(settings={"master_modality": "PD"})
    with pytest.raises(ModalityError, match=r"'PD' does not exist.*'T1', 'T1ce', 'T2', 'FLAIR'"):
        AttentionFusionTrainer.prepare_plans(case.plans, "3d", case.dataset_json)


@pytest.mark.parametrize("trainer_class", PUBLISHED, ids=lambda trainer: trainer.__name__)
def test_one_channel_raises_where_there_is_nothing_to_fuse(trainer_class):
    case = Case(channels=("T1ce",))
    if trainer_class in (SingleModalityUNetTrainer, AttentionUNetTrainer):
        trainer_class.prepare_plans(case.plans, "3d", case.dataset_json)
    else:
        with pytest.raises(ModalityError, match="at least 2 channels; the dataset has only 'T1ce'"):
            trainer_class.prepare_plans(case.plans, "3d", case.dataset_json)


@pytest.mark.parametrize("other", [FuseUNetTrainer, EarlyFuseUNetTrainer, LateFuseUNetTrainer, FuseNetTrainer])
def test_plans_of_another_row_raise(other):
    plans, _, _ = other.prepare_plans(Case().plans, "3d", Case().dataset_json)
    with pytest.raises(PlansError, match="another system than AttentionFusionTrainer"):
        AttentionFusionTrainer.prepare_plans(plans, "3d", Case().dataset_json)


def test_early_fusion_and_single_modality_do_not_take_each_others_plans():
    plans, _, _ = EarlyFuseUNetTrainer.prepare_plans(Case().plans, "3d", Case().dataset_json)
    with pytest.raises(PlansError, match="another system"):
        SingleModalityUNetTrainer.prepare_plans(plans, "3d", Case().dataset_json)


@pytest.mark.parametrize(
    "case", [Case(), Case(regions=True), Case(ignore=True), Case(regions=True, ignore=True)], ids=range(4)
)
def test_loss_is_that_of_equation_1(case, tmp_path):
    trainer = trainer_for(case, tmp_path)
    images, target = make_batch(trainer, case)
    logits = trainer.network(images)
    expected = PlainDiceCrossEntropyLoss(case.regions, 4 if case.ignore else None, 1.0, 1.0)(logits, target)
    assert torch.equal(trainer.loss(logits, target), expected)


def test_settings_reach_loss_attention_and_norm(tmp_path):
    settings = {
        "cross_entropy_weight": 0.5, "dice_epsilon": 2.0, "attention_reduction": 2, "attention_dilation": 3,
        "batch_norm": True, "batch_dice": True,
    }  # fmt: skip
    trainer = trainer_for(Case(settings=settings), tmp_path)
    assert (trainer.loss.cross_entropy_weight, trainer.loss.epsilon, trainer.loss.batch_dice) == (0.5, 2.0, True)
    modules = list(trainer.network.modules())
    assert any(isinstance(m, nn.BatchNorm3d) for m in modules)
    assert not any(isinstance(m, nn.InstanceNorm3d) for m in modules)
    dilated = trainer.network.encoder.levels[1].attentions[0].layers[3]
    assert (dilated.in_channels, dilated.dilation) == (2, (3, 3, 3))  # streams of 4 channels here


def test_optimizer_is_amsgrad_without_weight_decay(tmp_path):
    optimizer = trainer_for(Case(), tmp_path).optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["amsgrad"] is True
    assert optimizer.defaults["weight_decay"] == 0


RATES = {0: 1e-4, 29: 1e-4, 30: 5e-5, 59: 5e-5, 60: 2.5e-5, 299: 1e-4 / 512}


@pytest.mark.parametrize(("epoch", "rate"), RATES.items())
def test_learning_rate_halves_every_30_epochs(epoch, rate, tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    trainer.lr_scheduler.step(epoch)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(("epoch", "rate"), [(29, 1e-4), (30, 5e-5), (61, 2.5e-5)])
def test_learning_rate_after_resuming(epoch, rate, tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    trainer.current_epoch = epoch - 1
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = trainer_for(Case(), tmp_path)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed.logger.local_logger.my_fantastic_logging["lrs"] = [0.0] * epoch
    resumed.on_train_epoch_start()
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(("trainer_class", "augments"), [(AttentionFusionTrainer, 1), (AttentionFusionTrainerNoDA, 0)])
def test_variant_without_augmentation_neither_deforms_nor_mirrors(trainer_class, augments, tmp_path):
    trainer = trainer_for(Case(), tmp_path, trainer_class)
    rotation, dummy_2d, patch_size, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    transforms = trainer.get_training_transforms((16, 16, 16), rotation, None, mirror or (), dummy_2d).transforms
    assert sum(isinstance(transform, SpatialTransform) for transform in transforms) == augments
    assert (mirror is not None) == bool(augments)
    assert (trainer.inference_allowed_mirroring_axes is not None) == bool(augments)
    assert (list(patch_size) != [16, 16, 16]) == bool(augments)


def test_saved_plans_survive_json_and_train_again(tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    saved = json.loads(json.dumps(trainer.plans_manager.plans))
    again = make_trainer(AttentionFusionTrainer, Case(), tmp_path, plans=saved)
    again.network.load_state_dict(trainer.network.state_dict())
    assert again.settings == trainer.settings


def test_heat_map_order_reaches_the_network_by_stream(tmp_path):
    settings = {"presence_aware": True, "heat_map_order": ["T1Gd", "FLAIR", "T1", "T2"]}
    trainer = make_trainer(AttentionFusionTrainer, Case(settings=settings), tmp_path)
    # channels T1, T1ce, T2, FLAIR; streams: the master T1ce, then T1, T2, FLAIR
    assert trainer.network.heat_map_order == [0, 3, 1, 2]
    assert make_trainer(AttentionFusionTrainer, Case(), tmp_path).network.heat_map_order is None


@pytest.mark.parametrize(
    ("trainer_class", "settings", "message"),
    [
        (AttentionFusionTrainer, {"heat_map_order": ["T1"]}, "no effect without presence_aware"),
        (AttentionFusionTrainer, {"presence_aware": True, "heat_map_order": ["T1", "T2"]}, "must name each of"),
        (FuseUNetAttentionTrainer, {"presence_aware": True}, "FuseUNetAttentionTrainer has none"),
        (SingleModalityUNetTrainer, {"modality_dropout": 0.5}, "reads the master modality alone"),
    ],
)
def test_heat_map_order_that_cannot_be_is_refused(trainer_class, settings, message, tmp_path):
    with pytest.raises(SettingsError, match=message):
        make_trainer(trainer_class, Case(settings=settings), tmp_path)


def test_residual_encoder_plans_keep_stages_widths_and_blocks(tmp_path):
    network = trainer_for(Case(residual=True, base=16), tmp_path).network
    last = [level.blocks[2] for level in network.encoder.levels]
    assert [len(blocks.blocks) for blocks in (last[0][1], *last[1:])] == [1, 3, 4]
    # of each of four streams a quarter of the plans' 16, 32, 64
    assert [(blocks[1] if level == 0 else blocks).output_channels for level, blocks in enumerate(last)] == [4, 8, 16]
    assert [len(block.convs) for block in network.decoder.blocks] == [1, 1]


def test_vgg16_row_keeps_its_blocks_on_residual_encoder_plans(tmp_path):
    network = trainer_for(Case(residual=True), tmp_path, FuseNetTrainer).network
    assert [len(level.blocks[0].convs) for level in network.encoder.levels] == [2, 2, 3]


def test_plans_of_another_row_raise_on_residual_encoders_too():
    case = Case(residual=True)
    plans, _, _ = FuseUNetTrainer.prepare_plans(case.plans, "3d", case.dataset_json)
    FuseUNetTrainer.prepare_plans(plans, "3d", case.dataset_json)
    with pytest.raises(PlansError, match="another system than AttentionFusionTrainer"):
        AttentionFusionTrainer.prepare_plans(plans, "3d", case.dataset_json)
