"""What nnU-Net demands of every trainer. A new trainer joins by being in ``nnunet_ext.trainers.TRAINERS``."""

import json
import math
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext import plugin
from nnunet_ext.architectures import NetworkOutput
from nnunet_ext.plans.settings import SettingsError
from nnunet_ext.testing import Case, make_batch, make_trainer, training_transforms
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainer,
    AttentionFusionTrainerNoDA,
    AttentionUNetTrainer,
    AutoencoderRegularizedTrainer,
    AutoencoderRegularizedTrainerNNUNetDA,
    BiFPNClassifierTrainer,
    HostAutoencoderTrainer,
    HostClassifierTrainer,
    MethodTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
    SingleModalityUNetTrainer,
    health,
)
from nnunet_ext.trainers.health_findings import PATIENCE

CASES = (
    Case(),
    Case("regions", regions=True),
    Case("ignore label", ignore=True),
    Case("regions and ignore label", regions=True, ignore=True),
    Case("2d", 2, (32, 16), ((1, 1), (2, 2), (2, 2)), ((3, 3),) * 3),
    Case(
        "anisotropic",
        patch_size=(6, 16, 24),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    ),
    Case("cascade", cascade=True),
    Case("residual encoder plans", residual=True),
    Case("two channels", channels=("FLAIR", "T1ce"), regions=True),
    Case("three unknown channels", channels=("b0", "b500", "b1000")),
)
# they have the network and the loss of another, and change the augmentation alone
AUGMENTATION_ONLY = (AttentionFusionTrainerNoDA, AutoencoderRegularizedTrainerNNUNetDA)
NETWORK_TRAINERS = [trainer for trainer in TRAINERS if trainer not in AUGMENTATION_ONLY]
# one a network class, with the parts that only some of its trainers have
ONE_A_CLASS = [
    ModalityPairingTrainer,
    AutoencoderRegularizedTrainer,
    AttentionFusionTrainer,
    BiFPNClassifierTrainer,
    NestedUNetClassifierTrainer,
    HostAutoencoderTrainer,
]
# branch, gate and modality dropout on nnU-Net's own networks; each alone is in CASES and in the test of dropout below
COMBINATIONS = [
    (trainer, Case(f"{name}{', residual' if residual else ''}", residual=residual, settings=settings))
    for residual in (False, True)
    for trainer, name, settings in (
        (HostAutoencoderTrainer, "branch and gate", {"slice_classifier": True}),
        (HostAutoencoderTrainer, "branch and dropout", {"modality_dropout": "uniform"}),
        (HostClassifierTrainer, "gate and dropout", {"modality_dropout": "uniform"}),
        (HostClassifierTrainer, "all three", {"autoencoder_branch": True, "modality_dropout": "uniform"}),
    )
]
every_trainer = pytest.mark.parametrize("trainer_class", TRAINERS, ids=lambda trainer: trainer.__name__)
every_network = pytest.mark.parametrize("trainer_class", NETWORK_TRAINERS, ids=lambda trainer: trainer.__name__)
every_class = pytest.mark.parametrize("trainer_class", ONE_A_CLASS, ids=lambda trainer: trainer.__name__)
every_network_and_case = pytest.mark.parametrize(
    ("trainer_class", "case"),
    [*product(NETWORK_TRAINERS, CASES), *COMBINATIONS],
    ids=lambda value: value.name if isinstance(value, Case) else value.__name__,
)

FIND_ALL = """
import sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
for name in sys.argv[1:]:
    print("FOUND", recursive_find_trainer_class_by_name(name).__name__)
"""


class Seen(BasicTransform):
    """Changes nothing and remembers the sample."""

    def __call__(self, **sample):
        self.sample = sample
        return sample


def rebuilt_network(trainer, case: Case, deep_supervision: bool):
    """Network that nnU-Net builds from nothing but the saved plans."""
    plans = PlansManager(json.loads(json.dumps(trainer.plans_manager.plans)))
    configuration = plans.get_configuration(case.configuration)
    return trainer.build_network_architecture(
        plans, configuration, case.input_channels, case.num_classes, enable_deep_supervision=deep_supervision
    )


def test_trainers_are_found_by_nnunet_in_a_fresh_process():
    names = [trainer.__name__ for trainer in TRAINERS]
    environment = os.environ | {"nnUNet_extTrainer": os.path.dirname(plugin.__file__)}
    run = subprocess.run(
        [sys.executable, "-c", FIND_ALL, *names], env=environment, capture_output=True, text=True, check=True
    )
    found = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("FOUND")]
    assert found == names


@every_network_and_case
def test_training_step_gives_finite_loss_and_a_gradient_to_every_parameter(trainer_class, case, tmp_path):
    trainer = make_trainer(trainer_class, case, tmp_path)
    # as in DDP, where nnU-Net gives the lowest resolution a weight other than 0, and unused parameters are an error
    trainer.is_ddp = True
    trainer.loss = trainer._build_loss()
    trainer.is_ddp = False
    images, target = make_batch(trainer, case)
    trainer.network.train()
    loss = trainer.forward_and_loss(images, target)
    loss.backward()
    assert torch.isfinite(loss)
    without = [name for name, p in trainer.network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


@every_network
def test_samples_that_lost_modalities_train_every_parameter(trainer_class, tmp_path):
    case = Case("cascade", cascade=True, settings={"modality_dropout": 1.0})
    if trainer_class in (SingleModalityUNetTrainer, AttentionUNetTrainer):
        with pytest.raises(SettingsError, match="reads the master modality alone"):
            make_trainer(trainer_class, case, tmp_path)
        return
    trainer = make_trainer(trainer_class, case, tmp_path)
    trainer.is_ddp = True  # as above
    trainer.loss = trainer._build_loss()
    trainer.is_ddp = False
    trainer.on_train_epoch_start()
    images, target = make_batch(trainer, case, size=4)
    seen = []
    trainer.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainer.network.train()
    loss = trainer.forward_and_loss(images, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trainer.network.parameters())
    has = seen[0].flatten(2).any(2)
    assert not has[:, :4].all(1).any()
    assert has[:, :4].any(1).all()
    assert has[:, 4:].all()  # the cascade's channels


@every_network_and_case
def test_train_and_validation_step_run(trainer_class, case, tmp_path):
    trainer = make_trainer(trainer_class, case, tmp_path)
    images, target = make_batch(trainer, case)
    trainer.network.train()
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.lr_scheduler.step(0)
    step = trainer.train_step({"data": images, "target": target})
    trainer.network.eval()
    with torch.no_grad():
        validation = trainer.validation_step({"data": images, "target": target})
    assert math.isfinite(step["loss"] + validation["loss"])
    assert len(validation["tp_hard"]) == 3
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


@every_network_and_case
def test_prediction_gets_one_finite_tensor_from_the_saved_plans_alone(trainer_class, case, tmp_path):
    trainer = make_trainer(trainer_class, case, tmp_path)
    images, _ = make_batch(trainer, case)
    network = rebuilt_network(trainer, case, deep_supervision=False)
    network.load_state_dict(trainer.network.state_dict(), strict=True)
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    network.eval()
    with torch.no_grad():
        logits = network(images)
        expected = trainer.network(images)
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, case.num_classes, *case.patch_size)
    assert torch.equal(logits, expected)
    assert torch.isfinite(logits.half()).all()


@every_network
def test_weights_load_strictly_with_deep_supervision_on_and_off(trainer_class, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    for enabled in {False, trainer.enable_deep_supervision}:
        network = rebuilt_network(trainer, Case(), enabled)
        network.load_state_dict(trainer.network.state_dict(), strict=True)


@every_network
def test_deep_supervision_is_switched_where_the_method_has_it(trainer_class, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    trainer.network = torch.compile(trainer.network, backend="eager")
    network = trainer.network._orig_mod
    # nnU-Net's own networks have the switch in their decoder
    switched = network if hasattr(network, "deep_supervision") else network.decoder
    trainer.set_deep_supervision_enabled(True)
    assert switched.deep_supervision is trainer_class.deep_supervision
    trainer.set_deep_supervision_enabled(False)
    assert switched.deep_supervision is False


@every_class
def test_compiled_network_trains_like_the_plain_one(trainer_class, tmp_path):
    settings = {"slice_classifier": True} if trainer_class is HostAutoencoderTrainer else {}
    trainer = make_trainer(trainer_class, Case(settings=settings), tmp_path)
    images, target = make_batch(trainer, Case())
    trainer.network.train()
    losses = []
    for network in (trainer.network, torch.compile(trainer.network, backend="eager")):
        torch.manual_seed(0)
        trainer.modality_dropout.start_epoch(0, 0)
        trainer.network = network
        losses.append(trainer.forward_and_loss(images, target))
        losses[-1].backward()
    torch._dynamo.reset()
    assert torch.allclose(losses[0], losses[1], rtol=1e-5, atol=1e-6)


@every_trainer
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_been_stopped(trainer_class, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    for epoch in range(2):
        trainer.current_epoch = epoch
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step({"data": images, "target": target})])
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = make_trainer(trainer_class, Case(), tmp_path)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert resumed.current_epoch == 2
    assert resumed.settings == trainer.settings
    weights = resumed.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in trainer.network.state_dict().items())
    own = [key for key in trainer.log_curves if key.startswith(("loss_", "health_"))]
    assert {f"{health.CALLED}", f"{health.NORM}"} <= set(own)
    for key in own:
        assert len(resumed.log_curves[key]) == 2
        np.testing.assert_array_equal(resumed.log_curves[key], trainer.log_curves[key])
    for each in (trainer, resumed):
        each.current_epoch = 2
        each.on_train_epoch_start()
        torch.manual_seed(0)
        each.train_step({"data": images, "target": target})
    # equal after one more step: the optimizer's moments and the learning rate have come back as well
    weights = resumed.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in trainer.network.state_dict().items())


@every_trainer
def test_region_that_is_called_everywhere_is_logged_and_warned_of_once(trainer_class, tmp_path):
    case = Case(regions=True)
    trainer = make_trainer(trainer_class, case, tmp_path)
    images, target = make_batch(trainer, case)
    trainer.network.train()
    trainer.network.register_forward_hook(lambda *arguments: everywhere(arguments[-1], 30))
    for epoch in range(PATIENCE + 2):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step({"data": images, "target": target})])
    log, full_size = trainer.log_curves, target[0] if isinstance(target, list) else target
    assert log[health.CALLED] == log[health.SATURATED] == [[1.0] * 3] * (PATIENCE + 2)
    for values in log[health.REFERENCE]:
        assert values == pytest.approx(full_size.float().mean((0, 2, 3, 4)).tolist())
    assert all(0 < clipped <= 12.001 for clipped in log[health.CLIPPED_NORM])
    warnings = [line for line in Path(trainer.log_file).read_text().splitlines() if "WARNING: " in line]
    assert len(warnings) == 3
    for region, line in zip(("whole_tumor", "tumor_core", "enhancing_tumor"), warnings, strict=True):
        assert f"Region '{region}'" in line
        assert "100 % of the voxels are called so" in line
        assert "since epoch 0" in line
        assert f"for example {trainer.initial_lr / 10:g} (nnunet_ext plan)" in line


def everywhere(output, value):
    """What a network gives, with logits around a value."""
    if isinstance(output, NetworkOutput):
        return output._replace(logits=everywhere(output.logits, value))
    return [everywhere(one, value) for one in output] if isinstance(output, list) else 1e-6 * output + value


@every_network
def test_saved_model_folder_predicts_the_mean_over_folds_and_flips(trainer_class, tmp_path, monkeypatch):
    """What ``nnUNetv2_predict`` does, without its processes; its logits are in half precision on the way."""
    case = Case(regions=True)
    trainer = make_trainer(trainer_class, case, tmp_path)
    trainer.set_deep_supervision_enabled(False)
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    image, _ = make_batch(trainer, case, size=1)
    model = tmp_path / "model"
    expected, axes = torch.zeros(2, 8, case.num_classes, *case.patch_size), list(product((False, True), repeat=3))
    for fold in range(2):
        torch.manual_seed(fold)
        for parameter in trainer.network.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
        (model / f"fold_{fold}").mkdir(parents=True)
        trainer.save_checkpoint(str(model / f"fold_{fold}" / "checkpoint_final.pth"))
        trainer.network.eval()
        for index, flipped in enumerate(axes):
            flips = [axis + 2 for axis in range(3) if flipped[axis]]
            with torch.no_grad():
                expected[fold, index] = trainer.network(image.flip(flips)).flip(flips)[0]
    (model / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (model / "dataset.json").write_text(json.dumps(case.dataset_json))
    monkeypatch.setenv("nnUNet_extTrainer", os.path.dirname(plugin.__file__))
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0, 1))
    logits = predictor.predict_logits_from_preprocessed_data(image[0]).float()
    mean = expected.mean((0, 1))
    error = (logits - mean).abs().mean()
    assert error < 0.02 * mean.abs().mean()
    # so that the line above would notice a fold or a flip that is missing
    parts = [expected[0], expected[1]]
    if trainer.inference_allowed_mirroring_axes is not None:  # else the network averages over flips
        parts += [expected[:, :4], expected[:, ::2], expected[:, [0, 1, 4, 5]]]
    for part in parts:
        assert (part.flatten(0, -5).mean(0) - mean).abs().mean() > 2 * error


@every_trainer
def test_wrong_plans_and_settings_leave_nothing_behind(trainer_class, tmp_path):
    plans = Case().plans
    plans["configurations"]["3d"]["architecture"]["network_class_name"] = "some.other.Network"
    with pytest.raises(ValueError, match=r"some\.other\.Network"):
        make_trainer(trainer_class, Case(), tmp_path, plans=plans)
    with pytest.raises(ValueError, match="no configuration '2d'"):
        trainer_class(Case().plans | {"continue_training": False}, "2d", 0, Case().dataset_json, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"unknown setting 'no_such_setting'.*num_epochs"):
        make_trainer(trainer_class, Case(settings={"no_such_setting": 1}), tmp_path)
    assert not (tmp_path / "nnUNet_results").exists()


@every_trainer
def test_settings_block_reaches_the_trainer_and_the_saved_plans(trainer_class, tmp_path):
    changed = {"num_epochs": 7, "num_iterations_per_epoch": 3, "num_val_iterations_per_epoch": 2, "save_every": 5}
    trainer = make_trainer(trainer_class, Case(settings=changed), tmp_path)
    assert {name: getattr(trainer, name) for name in changed} == changed
    saved = trainer.plans_manager.plans["nnunet_ext"]
    assert changed.items() <= saved.items()
    assert set(saved) > set(changed)
    again = make_trainer(trainer_class, Case(), tmp_path, plans=trainer.plans_manager.plans)
    assert again.settings == trainer.settings
    assert again.plans_manager.plans == trainer.plans_manager.plans


@every_trainer
def test_hook_of_the_augmentation_reaches_every_trainer(trainer_class, tmp_path, monkeypatch):
    before, after = Seen(), Seen()
    hook = lambda self, transforms: ComposeTransforms([before, transforms, after])  # noqa: E731
    monkeypatch.setattr(MethodTrainer, "change_training_transforms", hook)
    trainer = make_trainer(trainer_class, Case(regions=True), tmp_path)
    _, _, patch_size, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    transforms = training_transforms(trainer)
    labels = torch.randint(0, 4, (1, *patch_size), dtype=torch.int16)
    transforms(image=torch.randn(4, *patch_size), segmentation=labels)
    assert [len(sample["image"]) for sample in (before.sample, after.sample)] == [4, 4]
    assert before.sample["segmentation"].dtype == torch.int16
    target = after.sample["segmentation"]
    assert (target[0] if isinstance(target, list) else target).shape == (3, *Case().patch_size)


@every_trainer
def test_trainer_says_where_it_comes_from(trainer_class):
    assert trainer_class.paper
    assert trainer_class.adds
