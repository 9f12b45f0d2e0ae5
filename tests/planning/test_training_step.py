"""Cost of a training step: found without running it, and the same when it runs."""

import os

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.counting.arithmetic import operation_counter
from nnunet_ext.counting.tensor_bytes import TensorBytes
from nnunet_ext.planning.training_step import TrainingStep, step_cost
from nnunet_ext.testing import Case
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
)

NETWORKS = (
    nnUNetTrainer,
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
)


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))


def cost_of(trainer, case=None, mixed_precision=True, **options):
    case = case or Case()
    plans = case.plans
    if trainer is nnUNetTrainer:
        plans.pop("nnunet_ext")
    return step_cost(trainer, plans, case.configuration, case.dataset_json, mixed_precision, **options)


@pytest.mark.parametrize("mixed_precision", [False, True])
@pytest.mark.parametrize("trainer", NETWORKS)
def test_estimate_is_what_a_real_step_holds(trainer, mixed_precision):
    case = Case(patch_size=(32, 32, 32), base=8)
    step = TrainingStep(trainer, case.plans, "3d", case.dataset_json, mixed_precision)
    step.passes()
    step.update()
    with TensorBytes(step.weights()) as counted:
        step.passes()
    cost = cost_of(trainer, case, mixed_precision)
    assert cost.fixed == step.fixed_bytes()
    # recurrent layers and index arithmetic differ a little between stand-ins and tensors
    assert cost.passes == pytest.approx(counted.peak, rel=0.05)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_has_a_cost(trainer):
    cost = cost_of(trainer)
    assert cost.parameters > 0
    # float32 weights and at least one value of optimizer state each, but for logits that the loss gives no weight
    assert cost.fixed > 7.9 * cost.parameters
    assert cost.memory == cost.fixed + cost.passes


@pytest.mark.parametrize("trainer", NETWORKS)
def test_memory_grows_with_patch_and_batch(trainer):
    small, large = cost_of(trainer), cost_of(trainer, Case(patch_size=(24, 16, 16)))
    assert small.passes < large.passes
    case = Case()
    plans = case.plans
    plans["configurations"]["3d"]["batch_size"] = 3
    assert step_cost(trainer, plans, "3d", case.dataset_json).passes > 1.2 * small.passes


@pytest.mark.parametrize("trainer", NETWORKS)
def test_mixed_precision_takes_less_for_the_passes_and_as_much_for_the_weights(trainer):
    mixed, full = cost_of(trainer), cost_of(trainer, mixed_precision=False)
    assert mixed.fixed == full.fixed
    assert 0.4 * full.passes < mixed.passes < full.passes


def test_arithmetic_of_the_backward_pass_is_about_twice_the_forward_pass():
    case = Case()
    step = TrainingStep(nnUNetTrainer, case.plans, "3d", case.dataset_json, mixed_precision=False)
    with operation_counter() as counter, torch.no_grad():
        step.trainer.network(step.batch()[0])
    cost = cost_of(nnUNetTrainer, mixed_precision=False, count_operations=True)
    assert cost.operations == pytest.approx(3 * counter.get_total_flops(), rel=0.1)


@pytest.mark.parametrize("case", [Case(regions=True), Case(ignore=True), Case(cascade=True)], ids=lambda c: str(c))
def test_labels_and_cascade(case):
    cost = cost_of(ModalityPairingTrainer, case)
    plain = cost_of(ModalityPairingTrainer)
    assert (cost.parameters > plain.parameters) == case.cascade  # one-hot channels of the first stage


def test_nothing_is_written_and_no_variable_changes(tmp_path, capsys):
    before = dict(os.environ)
    cost_of(ModalityPairingTrainer)
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before
    assert capsys.readouterr().out == ""
