"""The four trainers: what they write into the plans, loss, schedules, augmentation and the scores in the log."""

import json
import math
import os

import pytest
import torch
from balanced_classifier import balance_classifier
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from mirrored_passes import gated_regions, passes_mirrored_by_hand
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_ext import plugin
from nnunet_ext.losses.slice_classification import (
    FocalDiceLoss,
    SliceCrossEntropyLoss,
    SliceFocalLoss,
    slice_labels,
)
from nnunet_ext.testing import Case, make_batch, make_trainer, training_transforms
from nnunet_ext.trainers import BiFPNClassifierTrainer, BiFPNTrainer, NestedUNetClassifierTrainer, NestedUNetTrainer
from nnunet_ext.trainers.slice_scores import count_slices, slice_scores

CLASSIFIERS = [BiFPNClassifierTrainer, NestedUNetClassifierTrainer]
SCORES = ("slice_accuracy", "slice_sensitivity", "slice_specificity")
FIVE_STAGES = {"patch_size": (32, 32, 32), "strides": ((1,) * 3, *((2,) * 3,) * 5), "kernel_sizes": ((3,) * 3,) * 6}


def network_kwargs(trainer):
    plans = json.loads(json.dumps(trainer.plans_manager.plans))
    (configuration,) = plans["configurations"].values()
    return configuration["architecture"]["arch_kwargs"]


def prepared(trainer_class, case, **plans):
    result, _, _ = trainer_class.prepare_plans(case.plans | plans, case.configuration, case.dataset_json)
    return result["configurations"][case.configuration]["architecture"]["arch_kwargs"]


def test_bifpn_takes_four_scales_below_full_resolution_with_half_the_plans_width():
    kwargs = prepared(BiFPNTrainer, Case(base=32, **FIVE_STAGES))
    assert kwargs["n_stages"] == 4
    assert kwargs["features_per_stage"] == [16, 32, 64, 128]  # Table 1
    assert kwargs["strides"] == [[2, 2, 2]] * 4


def test_nested_u_net_takes_five_levels_whose_widths_have_no_limit():
    kwargs = prepared(NestedUNetTrainer, Case(base=32, **FIVE_STAGES))
    assert kwargs["n_stages"] == 5
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 512]
    assert kwargs["strides"] == [[1, 1, 1], *[[2, 2, 2]] * 4]


def test_bifpn_keeps_anisotropic_strides_and_then_has_no_transposed_convolution(tmp_path):
    case = Case(patch_size=(6, 16, 16), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)))
    trainer = make_trainer(BiFPNClassifierTrainer, case, tmp_path)
    assert network_kwargs(trainer)["strides"] == [[1, 2, 2], [2, 2, 2]]
    assert len(trainer.network.classifier.upsample) == 0
    assert trainer.network.train()(torch.randn(1, 4, 6, 16, 16)).auxiliary.logits.shape == (1, 3, 6)


@pytest.mark.parametrize("trainer_class", [BiFPNTrainer, NestedUNetTrainer, *CLASSIFIERS])
def test_plans_of_one_stage_are_an_error_that_says_so(trainer_class):
    case = Case(strides=((1, 1, 1),), kernel_sizes=((3, 3, 3),))
    with pytest.raises(ValueError, match="at least two stages"):
        prepared(trainer_class, case)


@pytest.mark.parametrize("trainer_class", CLASSIFIERS)
@pytest.mark.parametrize(
    ("transpose_forward", "setting", "axis"),
    [([0, 1, 2], 0, 0), ([1, 0, 2], 0, 1), ([2, 0, 1], 0, 1), ([2, 0, 1], 2, 0), ([0, 2, 1], 1, 2)],
)
def test_slice_axis_is_carried_through_transpose_forward(trainer_class, transpose_forward, setting, axis):
    case = Case(settings={"slice_axis": setting})
    kwargs = prepared(trainer_class, case, transpose_forward=transpose_forward)
    assert kwargs["slice_axis"] == axis
    # nnU-Net's transpose: array axis i is axis transpose_forward[i] of the image
    assert torch.empty(10, 11, 12).permute(transpose_forward).shape[axis] == (10, 11, 12)[setting]


def test_2d_image_is_one_slice():
    case = Case(dimension=2, patch_size=(16, 16), strides=((1, 1), (2, 2)), kernel_sizes=((3, 3), (3, 3)))
    assert prepared(BiFPNClassifierTrainer, case)["slice_axis"] is None


@pytest.mark.parametrize(
    ("trainer_class", "layers", "dropout"),
    [
        (BiFPNClassifierTrainer, 2, "torch.nn.Dropout"),
        (NestedUNetClassifierTrainer, 3, None),
    ],
)
def test_plans_carry_the_classifier_and_the_gate(trainer_class, layers, dropout):
    kwargs = prepared(trainer_class, Case(settings={"gate_slices": False, "dropout": 0.3}))
    assert kwargs["slice_classifier"] is True
    assert kwargs["gate_slices"] is False
    assert kwargs["lstm_layers"] == layers
    assert kwargs["lstm_dropout"] == 0.3
    assert kwargs["dropout_op"] == dropout
    assert kwargs["norm_op_kwargs"] == {"num_groups": 8}
    assert kwargs["mirror_axes"] == [0, 1, 2]


@pytest.mark.parametrize("trainer_class", [BiFPNTrainer, NestedUNetTrainer])
def test_ablations_have_no_classifier_and_no_setting_of_it(trainer_class):
    assert prepared(trainer_class, Case())["slice_classifier"] is False
    with pytest.raises(ValueError, match="unknown setting 'gate_slices'"):
        prepared(trainer_class, Case(settings={"gate_slices": True}))


@pytest.mark.parametrize("trainer_class", CLASSIFIERS)
@pytest.mark.parametrize("regions", [True, False])
def test_loss_is_the_sum_of_equation_3(trainer_class, regions, tmp_path):
    case = Case(regions=regions, settings={"focal_alpha": 0.4, "focal_gamma": 1.0})
    trainer = make_trainer(trainer_class, case, tmp_path)
    images, target = make_batch(trainer, case)
    output = trainer.network.train()(images)
    focal = {"alpha": 0.4, "gamma": 1.0}
    expected = (
        FocalDiceLoss(regions, **focal)(output.logits, target)
        + SliceFocalLoss(0, regions, **focal)(output.auxiliary, target)
        + SliceCrossEntropyLoss(0, regions)(output.auxiliary, target)
    )
    torch.testing.assert_close(trainer.loss(output, target), expected)


# 10 epochs of warm-up, then 190: epoch 105 is half-way, 10 the start
COSINE = {0: 1e-4, 9: 1e-3, 10: 1e-3, 105: 5e-4, 199: 1e-3 * (1 + math.cos(math.pi * 189 / 190)) / 2}
POLY = {0: 1e-4, 9: 1e-3, 10: 1e-3, 105: 1e-3 * 0.5**0.9, 199: 1e-3 * (1 / 190) ** 0.9}


@pytest.mark.parametrize(
    ("trainer_class", "epoch", "rate"),
    [(BiFPNClassifierTrainer, *row) for row in COSINE.items()]
    + [(NestedUNetClassifierTrainer, *row) for row in POLY.items()],
)
def test_learning_rate(trainer_class, epoch, rate, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    trainer.lr_scheduler.step(epoch)
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-6)


def test_schedule_is_a_setting_and_short_trainings_may_be_all_warm_up(tmp_path):
    case = Case(settings={"schedule": "poly", "num_epochs": 5})
    trainer = make_trainer(BiFPNTrainer, case, tmp_path)
    assert [trainer.lr_scheduler.learning_rate(epoch) for epoch in range(5)] == pytest.approx(
        [1e-4, 2e-4, 3e-4, 4e-4, 5e-4]
    )


def test_augmentation_is_the_papers_and_keeps_nnunets_label_steps(tmp_path):
    trainer = make_trainer(BiFPNTrainer, Case(regions=True), tmp_path)
    _, _, initial_patch, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert list(initial_patch) == [16, 16, 16]
    assert axes == trainer.inference_allowed_mirroring_axes == (0, 1, 2)
    mirror, scale, shift, mask, labels = training_transforms(trainer).transforms
    assert isinstance(mirror, MirrorTransform)
    assert mirror.allowed_axes == (0, 1, 2)
    assert [t.apply_probability for t in (scale, shift) if isinstance(t, RandomTransform)] == [0.8, 0.8]
    assert scale.transform.multiplier_range == (0.9, 1.1)
    assert shift.transform.shift_range == (-0.1, 0.1)
    assert mask.apply_to_channels == [0, 1, 2, 3]
    sample = labels(image=torch.zeros(1, 2, 2, 2), segmentation=torch.full((1, 2, 2, 2), 3, dtype=torch.int16))
    assert sample["segmentation"].shape[0] == 3


def validate(trainer, case, epoch, batches):
    trainer.current_epoch = epoch
    trainer.network.eval()
    with torch.no_grad():
        outputs = [trainer.validation_step({"data": images, "target": target.clone()}) for images, target in batches]
    trainer.on_validation_epoch_end(outputs)


@pytest.mark.parametrize("trainer_class", CLASSIFIERS)
@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("regions", [True, False])
def test_scores_of_validation_slices_are_logged_per_region(trainer_class, gate, regions, tmp_path):
    case = Case(regions=regions, ignore=True, settings={"gate_slices": gate})
    trainer = make_trainer(trainer_class, case, tmp_path)
    batches = [make_batch(trainer, case, seed) for seed in range(2)]
    balance_classifier(trainer.network, batches[0][0])
    trainer.network = torch.compile(trainer.network, backend="eager") if gate and regions else trainer.network
    for images, target in batches:
        target[:, :, 5:9] = 0  # slices without any region
        images[:, :, 8] = target[:, :, 8] = 0  # padding
    validate(trainer, case, 0, batches)
    torch._dynamo.reset()
    plain = trainer.unwrapped_network.train()
    for module in plain.modules():
        if isinstance(module, (torch.nn.Dropout, torch.nn.LSTM)):
            module.eval()
    counts = 0
    with torch.no_grad():
        for images, target in batches:
            output = plain(images).auxiliary
            labels = slice_labels(target, output.content, 3, slice_axis=0, regions=regions, ignore_label=4)
            counts = counts + count_slices(output.logits, labels)
    log = trainer.logger.local_logger.my_fantastic_logging
    for name, expected in slice_scores(counts)._asdict().items():
        assert log[f"slice_{name}"] == [expected]
    assert min(counts[:2].sum(), counts[2:].sum()) > 0  # some slices are called positive, some negative
    assert counts.sum() == 3 * 2 * 2 * 15  # without the padding


@pytest.mark.parametrize("trainer_class", CLASSIFIERS)
def test_score_history_survives_resuming(trainer_class, tmp_path):
    case = Case()
    trainer = make_trainer(trainer_class, case, tmp_path)
    for epoch in range(2):
        validate(trainer, case, epoch, [make_batch(trainer, case, epoch)])
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = make_trainer(trainer_class, case, tmp_path)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    old, new = (t.logger.local_logger.my_fantastic_logging for t in (trainer, resumed))
    assert all(len(new[name]) == 2 for name in SCORES)
    assert str([new[name] for name in SCORES]) == str([old[name] for name in SCORES])  # text: nan equals nan


def test_scores_missing_from_an_older_history_are_nan(tmp_path):
    trainer = make_trainer(BiFPNClassifierTrainer, Case(), tmp_path)
    for name in SCORES:
        del trainer.logger.local_logger.my_fantastic_logging[name]
    trainer.current_epoch = 1
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = make_trainer(BiFPNClassifierTrainer, Case(), tmp_path)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    history = resumed.logger.local_logger.my_fantastic_logging["slice_accuracy"]
    assert len(history) == 2
    assert all(math.isnan(value) for epoch in history for value in epoch)


def saved_folds(trainer, case, folder, number):
    """A model folder whose folds differ in how firmly they reject the slices of each region."""
    weights = []
    bias = trainer.network.classifier.fc.bias
    for fold in range(number):
        with torch.no_grad():
            bias.copy_(torch.tensor([[2.0, 2.0, -1.0], [-1000.0, 1.0, -0.5], [2.0, -1000.0, -2.0]][fold]))
        (folder / f"fold_{fold}").mkdir(parents=True)
        trainer.save_checkpoint(str(folder / f"fold_{fold}" / "checkpoint_final.pth"))
        weights.append({name: value.clone() for name, value in trainer.network.state_dict().items()})
    (folder / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(case.dataset_json))
    return weights


@pytest.mark.parametrize("trainer_class", CLASSIFIERS)
def test_prediction_gates_behind_the_mean_of_mirrored_passes_and_before_that_of_folds(
    trainer_class, tmp_path, monkeypatch
):
    case = Case(regions=True, patch_size=(8, 8, 8))
    trainer = make_trainer(trainer_class, case, tmp_path)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # as at the start of a training
    folds = saved_folds(trainer, case, tmp_path / "model", 3)
    monkeypatch.setenv("nnUNet_extTrainer", os.path.dirname(plugin.__file__))
    predictor = nnUNetPredictor(
        use_gaussian=False, device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(tmp_path / "model"), range(3))
    passes = []
    predictor.network.classifier.register_forward_hook(lambda *_: passes.append(1))
    x = torch.randn(4, 8, 8, 8)  # one tile
    predicted = predictor.predict_logits_from_preprocessed_data(x)
    assert len(passes) == 3 * 8
    network, expected = trainer.network.eval(), []
    with torch.no_grad():
        for weights in folds:
            network.load_state_dict(weights)
            expected.append(gated_regions(*passes_mirrored_by_hand(network, x[None], 0), 0))
    assert (torch.stack(expected) == -10).any()  # a firm rejection is bounded
    torch.testing.assert_close(predicted.float(), torch.stack(expected).mean(0)[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("trainer_class", CLASSIFIERS)
def test_nnunet_never_mirrors_a_network_that_mirrors_itself(trainer_class, tmp_path, monkeypatch):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[3] == (0, 1, 2)  # augmentation does
    file = str(tmp_path / "checkpoint.pth")
    trainer.save_checkpoint(file)
    checkpoint = torch.load(file, weights_only=False)
    assert checkpoint["inference_allowed_mirroring_axes"] is None
    checkpoint["inference_allowed_mirroring_axes"] = (0, 1, 2)  # of a version before; its training goes on
    torch.save(checkpoint, file)
    trainer.load_checkpoint(file)
    assert trainer.inference_allowed_mirroring_axes is None
