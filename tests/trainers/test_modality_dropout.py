"""Modality dropout in training: what the network sees, in which step, and what stays as it was."""

import copy

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.augmentation.modality_dropout import ModalityDropout
from nnunet_ext.losses.modality_pairing import ModalityPairingLoss, pearson_correlation
from nnunet_ext.plans.modalities import ModalityError
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import SettingsError
from nnunet_ext.testing.case import Case
from nnunet_ext.testing.trainer import make_batch, make_trainer
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    MethodTrainer,
    ModalityDropoutTrainer,
    ModalityPairingTrainer,
)

METHODS = (
    ModalityPairingTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    AttentionFusionTrainer,
    ModalityDropoutTrainer,
)


def case_with(**settings):
    return Case(settings=settings)


def seen_by_network(trainer, run):
    """Inputs of the network while ``run`` runs."""
    seen = []
    hook = trainer.unwrapped_network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    run()
    hook.remove()
    return seen


def kept(images):
    return [tuple(bool(channel.any()) for channel in sample) for sample in images]


@pytest.mark.parametrize("trainer_class", METHODS, ids=lambda trainer: trainer.__name__)
def test_training_loses_modalities_and_validation_sees_all(trainer_class, tmp_path):
    case = case_with(modality_dropout=1.0, required_modalities=["T1Gd"])
    trainer = make_trainer(trainer_class, case, tmp_path)
    images, target = make_batch(trainer, case, size=8)
    batch = {"data": images, "target": target}
    trainer.on_train_epoch_start()
    seen = seen_by_network(trainer, lambda: trainer.train_step(copy.deepcopy(batch)))
    (in_training,) = [inputs for inputs in seen if len(inputs) == 8]  # one sample alone is weighed for the log
    trainer.network.eval()
    with torch.no_grad():
        in_validation = seen_by_network(trainer, lambda: trainer.validation_step(copy.deepcopy(batch)))[0]
    assert torch.equal(in_validation, images)
    assert all(not all(sample) and sample[1] for sample in kept(in_training))  # T1ce, channel 1, stays
    assert len(set(kept(in_training))) > 1
    present = torch.tensor(kept(in_training))
    assert torch.equal(in_training[present], images[present])  # what stays is unchanged


@pytest.mark.parametrize("trainer_class", METHODS[:-1], ids=lambda trainer: trainer.__name__)
def test_papers_drop_nothing_and_draw_nothing(trainer_class, tmp_path):
    trainer = make_trainer(trainer_class, Case(), tmp_path)
    images, _ = make_batch(trainer, Case())
    state = trainer.modality_dropout.generator.get_state()
    assert trainer.settings.modality_dropout == 0
    assert trainer.modality_dropout(images) is images
    assert torch.equal(trainer.modality_dropout.generator.get_state(), state)


def test_without_dropout_the_trainer_is_nnunets_own_step_by_step(tmp_path):
    case = case_with(modality_dropout=0)
    losses = []
    for trainer_class in (ModalityDropoutTrainer, nnUNetTrainer):
        torch.manual_seed(0)
        trainer = make_trainer(trainer_class, case, tmp_path / trainer_class.__name__)
        trainer.on_train_epoch_start()
        batches = [make_batch(trainer, case, seed) for seed in range(3)]
        losses.append([float(trainer.train_step({"data": x, "target": y})["loss"]) for x, y in batches])
        weights = [parameter.detach().clone() for parameter in trainer.network.parameters()]
        losses[-1].append(weights)
    assert losses[0][:3] == losses[1][:3]
    assert all(torch.equal(a, b) for a, b in zip(losses[0][3], losses[1][3], strict=True))


@pytest.mark.parametrize("residual", [False, True])
def test_planned_network_stays_in_the_plans_untouched(residual, tmp_path):
    case = Case(residual=residual)
    trainer = make_trainer(ModalityDropoutTrainer, case, tmp_path)
    assert trainer.plans_manager.plans["configurations"] == case.plans["configurations"]
    assert type(trainer.network).__name__ == ("ResidualEncoderUNet" if residual else "PlainConvUNet")
    assert trainer.settings.modality_dropout == pytest.approx(14 / 15)


def test_cascade_channels_are_never_dropped(tmp_path):
    case = Case("cascade", cascade=True, settings={"modality_dropout": 1.0})
    trainer = make_trainer(ModalityDropoutTrainer, case, tmp_path)
    images, _ = make_batch(trainer, case, size=16)
    given = trainer.modality_dropout(images)
    assert torch.equal(given[:, 4:], images[:, 4:])
    assert all(not all(sample[:4]) for sample in kept(given))


def drawn(epoch, rank, seed=0):
    torch.manual_seed(seed)
    dropout = ModalityDropout(4, [], 1.0, torch.device("cpu"))
    dropout.start_epoch(epoch, rank)
    return [kept(dropout(torch.ones(8, 4, 2))) for _ in range(2)]


def test_draws_depend_on_seed_epoch_and_process_and_on_nothing_else():
    assert drawn(3, 0) == drawn(3, 0)  # a training that continues draws what it would have drawn
    assert drawn(3, 0)[0] != drawn(3, 0)[1]
    assert drawn(3, 0) != drawn(3, 1)
    assert drawn(3, 0) != drawn(4, 0)
    assert drawn(3, 0) != drawn(3, 0, seed=1)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    drawn(0, 0, seed=7)
    assert torch.equal(torch.rand(1), expected)  # nobody else's numbers are used up


def test_each_process_and_epoch_of_a_training_starts_its_own_draws(tmp_path):
    trainer = make_trainer(ModalityDropoutTrainer, Case(), tmp_path)
    states = []
    for trainer.local_rank, trainer.current_epoch in ((0, 0), (1, 0), (0, 0), (0, 1)):
        trainer.modality_dropout.start_epoch(9, 9)
        MethodTrainer.on_train_epoch_start(trainer)
        states.append(trainer.modality_dropout.generator.get_state().tolist())
    assert states[0] == states[2]
    assert states[0] != states[1]
    assert states[0] != states[3]


@pytest.mark.parametrize(
    ("settings", "channels", "error", "message"),
    [
        ({"modality_dropout": 0.5}, ("T1",), ModalityError, "needs at least 2 channels"),
        (
            {"modality_dropout": 0.5, "required_modalities": ["T1", "T2"]},
            ("T1", "T2"),
            ModalityError,
            "nothing to drop",
        ),
        ({"modality_dropout": 0.5, "required_modalities": ["PD"]}, ("T1", "T2"), ModalityError, "'PD' does not exist"),
        ({"modality_dropout": 1.1}, ("T1", "T2"), SettingsError, "from 0 to 1"),
        ({"modality_dropout": "often"}, ("T1", "T2"), SettingsError, "'uniform'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, channels, error, message, tmp_path):
    with pytest.raises(error, match=message):
        make_trainer(ModalityDropoutTrainer, Case(channels=channels, settings=settings), tmp_path)


def test_plans_of_another_network_are_refused(tmp_path):
    plans = make_trainer(ModalityPairingTrainer, Case(), tmp_path).plans_manager.plans
    with pytest.raises(PlansError, match=r"was made for nnunet_ext\.architectures\.ModalityPairingUNet"):
        make_trainer(ModalityDropoutTrainer, Case(), tmp_path, plans={**plans, "nnunet_ext": {}})


@pytest.mark.parametrize("restore", [True, False])
def test_autoencoder_reconstructs_the_image_before_the_drop_unless_told_not(restore, tmp_path):
    case = case_with(modality_dropout=1.0, restore_missing=restore)
    trainer = make_trainer(AutoencoderRegularizedTrainer, case, tmp_path)
    images, target = make_batch(trainer, case, size=4)
    targets = []
    trainer.loss = lambda output, _: targets.append(output.auxiliary.image) or output.logits.sum()
    trainer.network.train()
    (given,) = seen_by_network(trainer, lambda: trainer.forward_and_loss(images, target))
    assert torch.equal(targets[0], images if restore else given)
    assert not torch.equal(given, images)


def test_restored_channels_are_drawn_as_reconstructed_without_them(tmp_path, monkeypatch):
    case = case_with(modality_dropout=1.0)
    trainer = make_trainer(AutoencoderRegularizedTrainer, case, tmp_path)
    drawn = {}
    module = "nnunet_ext.trainers.reconstructing_trainer"
    monkeypatch.setattr(f"{module}.plot_reconstruction", lambda rows, *_: drawn.update(rows))
    images, target = make_batch(trainer, case)
    trainer.write_reconstruction(images, target, "unused.png")
    without_t2 = images[:1].clone()
    without_t2[:, 2] = 0
    with torch.no_grad():
        expected = trainer.network.reconstruct(without_t2).reconstruction[0, 2]
    restored = drawn["restored where it is missing"][2]
    slices = [torch.equal(torch.from_numpy(restored), expected[index]) for index in range(len(expected))]
    assert sum(slices) == 1


@pytest.mark.parametrize(("choice", "counted"), [("keep", [True] * 4), ("leave_out", [True, False, False, True])])
def test_samples_with_an_empty_branch_are_kept_or_left_out_of_the_correlation(choice, counted, tmp_path):
    trainer = make_trainer(ModalityPairingTrainer, case_with(empty_branch=choice), tmp_path)
    images, target = make_batch(trainer, Case(), size=4)
    images[1, [0, 1]] = 0  # T1 and T1ce: branch B is empty
    images[2, [2, 3]] = 0  # T2 and FLAIR: branch A
    images[3, [0, 3]] = 0  # one of each
    trainer.network.train()
    auxiliary = trainer.network(images).auxiliary
    trainer.forward_and_loss(images, target)
    found = trainer.loss.pop_component_means()["modality_pairing"]
    expected = -pearson_correlation(*auxiliary.features)[torch.tensor(counted)].mean()
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_correlation_loss_is_zero_with_a_gradient_where_no_sample_is_paired():
    a, b = torch.randn(2, 3, 8, requires_grad=True), torch.randn(2, 3, 8, requires_grad=True)
    loss = ModalityPairingLoss()(a, b, included=torch.zeros(2, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert not a.grad.any()
