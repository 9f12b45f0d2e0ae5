"""nnU-Net's planned network with a branch or a classifier beside it: loss, log, refusals, weights of nnUNetTrainer."""

import json

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.losses import SliceCrossEntropyLoss, SliceFocalLoss
from nnunet_ext.losses.autoencoder import kl_to_standard_normal, reconstruction_error
from nnunet_ext.losses.slice_classification import slice_labels
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import SettingsError
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import HostAutoencoderTrainer, HostClassifierTrainer, ModalityDropoutTrainer
from nnunet_ext.trainers.slice_scores import count_slices

TRAINERS = [HostAutoencoderTrainer, HostClassifierTrainer]
BOTH = {"autoencoder_branch": True, "slice_classifier": True}
every_trainer = pytest.mark.parametrize("trainer_class", TRAINERS, ids=lambda trainer: trainer.__name__)


@pytest.mark.parametrize("case", [Case(settings=BOTH), Case(regions=True, ignore=True, settings=BOTH)], ids=range(2))
def test_loss_is_nnunets_plus_those_of_branch_and_slices(case, tmp_path):
    trainer = make_trainer(HostAutoencoderTrainer, case, tmp_path)
    images, target = make_batch(trainer, case)
    output = trainer.network.train()(images)
    branch, slices = output.auxiliary
    of_slices = {"slice_axis": 0, "regions": case.regions, "ignore_label": 4 if case.ignore else None}
    parts = {
        "segmentation": nnUNetTrainer._build_loss(trainer)(output.logits, target),
        "reconstruction": reconstruction_error(branch.reconstruction, images),
        "kl": kl_to_standard_normal(branch.mean, branch.log_variance, 16**3),
        "slice_focal": SliceFocalLoss(**of_slices)(slices, target[0]),
        "slice_cross_entropy": SliceCrossEntropyLoss(**of_slices)(slices, target[0]),
    }
    weights = {"reconstruction": 0.1, "kl": 0.1}
    expected = sum(weights.get(name, 1.0) * value for name, value in parts.items())
    assert trainer.loss(output, target).item() == pytest.approx(expected.item(), rel=1e-6)
    means = trainer.loss.pop_component_means()
    assert means == pytest.approx({name: value.item() for name, value in parts.items()}, rel=1e-5)


@pytest.mark.parametrize(
    ("trainer_class", "settings", "components"),
    [
        (HostAutoencoderTrainer, {}, ["reconstruction", "kl"]),
        (HostClassifierTrainer, {}, ["slice_focal", "slice_cross_entropy"]),
        (HostClassifierTrainer, BOTH, ["reconstruction", "kl", "slice_focal", "slice_cross_entropy"]),
    ],
)
def test_every_component_is_logged(trainer_class, settings, components, tmp_path):
    trainer = make_trainer(trainer_class, Case(settings=settings), tmp_path)
    images, target = make_batch(trainer, Case())
    trainer.on_train_epoch_end([trainer.train_step({"data": images, "target": target})])
    assert list(trainer._component_curves()) == [f"loss_{name}" for name in ("segmentation", *components)]
    assert all(curve[0] == curve[0] for curve in trainer._component_curves().values())
    assert (trainer.network.autoencoder is None) == ("kl" not in components)
    assert (trainer.network.classifier is None) == ("slice_focal" not in components)


@every_trainer
def test_optimizer_and_schedule_are_nnunets(trainer_class, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert isinstance(trainer.lr_scheduler, PolyLRScheduler)
    assert len(trainer.optimizer.param_groups[0]["params"]) == len(list(trainer.network.parameters()))


@pytest.mark.parametrize(
    ("trainer_class", "settings", "message"),
    [
        (HostAutoencoderTrainer, {"autoencoder_branch": False}, "autoencoder_branch=false would be another trainer"),
        (HostClassifierTrainer, {"slice_classifier": False}, "slice_classifier=false would be another trainer"),
        (HostClassifierTrainer, {"slice_classifier": False, "autoencoder_branch": True}, "take HostAutoencoderTrainer"),
        (HostAutoencoderTrainer, {"gate_slices": False}, "gate_slices: no effect without slice_classifier=true"),
        (HostClassifierTrainer, {"kl_weight": 0.2, "restore_missing": False}, "kl_weight, restore_missing: no effect"),
        (HostAutoencoderTrainer, {"reconstruction_weight": 0.0}, "greater than 0"),
        (HostClassifierTrainer, {"slice_axis": 3}, "less than or equal to 2"),
    ],
)
def test_what_would_be_ignored_is_refused(trainer_class, settings, message, tmp_path):
    with pytest.raises(SettingsError, match=message):
        make_trainer(trainer_class, Case(settings=settings), tmp_path)
    assert not (tmp_path / "nnUNet_results").exists()


@every_trainer
@pytest.mark.parametrize("strides", [((1, 1, 1),), ((2, 2, 2), (2, 2, 2), (2, 2, 2))])
def test_plans_without_a_second_stage_or_a_first_at_full_size_are_refused(trainer_class, strides):
    case = Case(strides=strides, kernel_sizes=((3, 3, 3),) * len(strides))
    with pytest.raises(PlansError, match="at least two stages, the first at full size"):
        trainer_class.prepare_plans(case.plans, "3d", case.dataset_json)


@every_trainer
@pytest.mark.parametrize("residual", [False, True])
def test_checkpoint_of_nnunets_trainer_is_loaded_as_pretrained_weights(trainer_class, residual, tmp_path):
    case = Case(residual=residual, settings=BOTH)
    torch.manual_seed(1)
    nnunets = make_trainer(nnUNetTrainer, case, tmp_path)
    file = str(tmp_path / "checkpoint_final.pth")
    nnunets.save_checkpoint(file)
    trainer = make_trainer(trainer_class, case, tmp_path)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    load_pretrained_weights(trainer.network, file)
    loaded = nnunets.network.state_dict()
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[name] if ".seg_layers." in name else loaded[name]), name
    first = "encoder.stem.convs.0.conv.weight" if residual else "encoder.stages.0.0.convs.0.conv.weight"
    assert not torch.equal(before[first], loaded[first])  # what was loaded was another
    # and back: nnU-Net's trainer takes weights from it
    trainer.save_checkpoint(file)
    load_pretrained_weights(make_trainer(nnUNetTrainer, case, tmp_path).network, file)


def test_plans_name_the_network_that_was_planned(tmp_path):
    trainer = make_trainer(HostClassifierTrainer, Case(residual=True), tmp_path)
    saved = json.loads(json.dumps(trainer.plans_manager.plans))["configurations"]["3d"]["architecture"]
    planned = Case(residual=True).plans["configurations"]["3d"]["architecture"]
    assert saved["network_class_name"] == "nnunet_ext.architectures.HostUNet"
    assert saved["arch_kwargs"]["host_network"] == planned["network_class_name"]
    assert planned["arch_kwargs"].items() <= saved["arch_kwargs"].items()


def test_slices_lie_along_the_axial_direction_of_the_image(tmp_path):
    plans = Case().plans | {"transpose_forward": [1, 0, 2]}
    prepared, _, _ = HostClassifierTrainer.prepare_plans(plans, "3d", Case().dataset_json)
    kwargs = prepared["configurations"]["3d"]["architecture"]["arch_kwargs"]
    assert (kwargs["slice_axis"], kwargs["mirror_axes"], kwargs["gate_slices"]) == (1, [0, 1, 2], True)


@pytest.mark.parametrize(
    ("trainer_class", "axes"), [(HostAutoencoderTrainer, (0, 1, 2)), (HostClassifierTrainer, None)]
)
def test_nnunet_mirrors_what_does_not_mirror_itself(trainer_class, axes, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    checkpoint = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
    assert checkpoint["inference_allowed_mirroring_axes"] == axes


def test_scores_of_validation_slices_are_of_the_finest_target(tmp_path):
    trainer = make_trainer(HostClassifierTrainer, Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    for level in target:
        level[:, :, 3:9] = 0  # in the finest 6 slices without a region
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step({"data": images, "target": [level.clone() for level in target]})
        with trainer.network.one_classified_pass():
            trainer.network(images)
    truth = slice_labels(target[0], torch.ones(2, 1, 16, dtype=torch.bool), 3, slice_axis=0, regions=False)
    assert (result["slice_counts"] == count_slices(trainer._slice_logits, truth)).all()
    trainer.on_validation_epoch_end([result])
    assert len(trainer.log_curves["slice_accuracy"][0]) == 3


def test_branch_restores_what_modality_dropout_took_away(tmp_path):
    seen = {}
    for restore in (True, False):
        case = Case(settings={"modality_dropout": 1.0, "restore_missing": restore})
        trainer = make_trainer(HostAutoencoderTrainer, case, tmp_path)
        images, target = make_batch(trainer, case)
        trainer.on_train_epoch_start()
        trainer.network.train()
        trainer.loss = lambda output, _: output.auxiliary.autoencoder.image
        seen[restore] = trainer.forward_and_loss(images, target)
    assert torch.equal(seen[True], images)
    assert (seen[False] == 0).flatten(2).all(2).any(1).all()  # each sample lacks a channel


def test_picture_of_the_reconstruction_is_written(tmp_path):
    trainer = make_trainer(HostAutoencoderTrainer, Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    trainer.write_reconstruction(images, target[0], str(tmp_path / "reconstruction.png"))
    assert (tmp_path / "reconstruction.png").stat().st_size > 1000


def test_planned_entry_of_another_trainer_is_refused():
    plans, _, _ = HostAutoencoderTrainer.prepare_plans(Case().plans, "3d", Case().dataset_json)
    with pytest.raises(PlansError, match="HostUNet"):
        ModalityDropoutTrainer.prepare_plans(plans | {"nnunet_ext": {}}, "3d", Case().dataset_json)
    with pytest.raises(SettingsError, match="slice_classifier=false would be another trainer"):
        HostClassifierTrainer.prepare_plans(plans, "3d", Case().dataset_json)
