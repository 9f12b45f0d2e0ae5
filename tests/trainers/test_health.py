"""Health of a training: by values computed by hand, and without changing the training."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from nnunet_ext.architectures.network_output import NetworkOutput
from nnunet_ext.losses.composite import CompositeLoss
from nnunet_ext.losses.target import TargetFormat
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import AutoencoderRegularizedTrainer, ModalityPairingTrainer
from nnunet_ext.trainers.health import (
    CALLED,
    CLIPPED_NORM,
    CLIPPED_STEPS,
    NORM,
    REFERENCE,
    REGION_GRADIENT,
    SATURATED,
    SHARE_PREFIX,
    STEPS_BETWEEN_LOOKS,
    TrainingHealth,
    epoch_values,
    gradient_shares,
)
from nnunet_ext.trainers.health_findings import PATIENCE
from nnunet_ext.trainers.health_plot import is_drawn_after

REGIONS = TargetFormat(regions=True)


class Weighted(nn.Module):
    """Twice the sum of the logits: a gradient of 2 at each of them."""

    def forward(self, output, target):
        """Of the full size alone."""
        logits = output.logits if isinstance(output, NetworkOutput) else output
        return 2 * (logits[0] if isinstance(logits, list) else logits).sum()


def values_of(health, output, target, scaler=None):
    loss = Weighted()
    with health.watched_step(loss, scaler):
        total = loss(output, target)
    (total if scaler is None else scaler.scale(total)).backward()
    return epoch_values([health.pop_sums()])


# shape: (1, 2, 2, 2); 17 is saturated, 16 is not
LOGITS = [[[[17.0, 16.0], [-17.0, 1.0]], [[-1.0, -1.0], [-1.0, 0.5]]]]
TARGET = [[[[1, 1], [0, 0]], [[0, 0], [0, 0]]]]


@pytest.mark.parametrize("auxiliary", [False, True])
def test_regions_by_hand(auxiliary):
    logits, target = torch.tensor(LOGITS, requires_grad=True), torch.tensor(TARGET)
    output = NetworkOutput([logits, logits[..., :1]], None) if auxiliary else logits
    values = values_of(TrainingHealth(2, REGIONS, 12.0), output, [target, target[..., :1]] if auxiliary else target)
    assert values[CALLED] == [0.75, 0.25]
    assert values[REFERENCE] == [0.5, 0.0]
    assert values[SATURATED] == [0.5, 0.0]
    assert values[REGION_GRADIENT] == pytest.approx([8.0, math.nan], nan_ok=True)  # the second is not in the batch


def test_ignored_voxels_do_not_count():
    target = torch.tensor([[*TARGET[0], [[1, 0], [0, 0]]]])  # the first voxel is ignored
    health = TrainingHealth(2, TargetFormat(regions=True, ignore_label=4), 12.0)
    values = values_of(health, torch.tensor(LOGITS, requires_grad=True), target)
    assert values[CALLED] == pytest.approx([2 / 3, 1 / 3])
    assert values[REFERENCE] == pytest.approx([1 / 3, 0])
    assert values[SATURATED] == pytest.approx([1 / 3, 0])


def test_labels_by_hand():
    # shape: (1, 3, 1, 4); background, and two classes
    logits = torch.tensor([[[[0.0, 0.0, 20.0, 0.0]], [[1.0, 0.0, 0.0, 0.0]], [[0.0, 20.0, 0.0, 1.0]]]])
    target = torch.tensor([[[[1, 2, 0, 2]]]])
    values = values_of(TrainingHealth(2, TargetFormat(regions=False), 12.0), logits.requires_grad_(), target)
    assert values[CALLED] == [0.25, 0.5]
    assert values[REFERENCE] == [0.25, 0.5]
    assert values[SATURATED] == [0.5, 0.5]
    assert values[REGION_GRADIENT] == [8.0, 8.0]


def test_gradient_is_that_of_the_loss_and_not_of_the_scaled_loss():
    logits, scaler = torch.tensor(LOGITS, requires_grad=True), torch.GradScaler("cpu", init_scale=1024.0)
    assert values_of(TrainingHealth(2, REGIONS, 12.0), logits, torch.tensor(TARGET), scaler)[REGION_GRADIENT][0] == 8.0


def test_heads_of_full_size_are_averaged():
    heads = [torch.tensor(LOGITS, requires_grad=True), torch.full((1, 2, 2, 2), -1.0)]
    values = values_of(TrainingHealth(2, REGIONS, 12.0), heads, torch.tensor(TARGET))
    assert values[CALLED] == [0.375, 0.125]


def test_first_step_of_an_epoch_and_every_tenth_are_looked_at():
    health, loss = TrainingHealth(2, REGIONS, 12.0), Weighted()
    for _ in range(2):
        for step in range(2 * STEPS_BETWEEN_LOOKS + 1):
            called = torch.full((1, 2, 2, 2), 1.0 if step % STEPS_BETWEEN_LOOKS == 0 else -1.0)
            with health.watched_step(loss):
                loss(called, torch.tensor(TARGET))
        assert len(health._counts) == 3
        assert epoch_values([health.pop_sums()])[CALLED] == [1.0, 1.0]
    assert not loss._forward_pre_hooks


def test_norms_by_hand_and_without_steps_that_the_scaler_skips():
    health = TrainingHealth(2, REGIONS, 12.0)
    for norm in (4.0, 14.0, 12.0, math.inf):
        health.add_norm(torch.tensor(norm))
    values = epoch_values([health.pop_sums()])
    assert (values[NORM], values[CLIPPED_NORM], values[CLIPPED_STEPS]) == pytest.approx((10.0, 28 / 3, 1 / 3))


def test_epoch_without_steps_has_no_values():
    values = epoch_values([TrainingHealth(2, REGIONS, 12.0).pop_sums()])
    assert all(math.isnan(x) for value in values.values() for x in (value if isinstance(value, list) else [value]))


def test_sums_of_processes_are_added():
    of_processes = []
    for value, norm in ((1.0, 4.0), (-1.0, 14.0)):
        health, loss = TrainingHealth(2, REGIONS, 12.0), Weighted()
        with health.watched_step(loss):
            loss(torch.full((1, 2, 2, 2), value), torch.tensor(TARGET))
        health.add_norm(torch.tensor(norm))
        of_processes.append(health.pop_sums())
    values = epoch_values(of_processes)
    assert values[CALLED] == [0.5, 0.5]
    assert (values[NORM], values[CLIPPED_STEPS]) == (9.0, 0.5)


class TwoHeads(nn.Module):
    """A shared weight in front of two, batch norm, and dropout."""

    def __init__(self):
        super().__init__()
        self.shared, self.first, self.second = (nn.Linear(1, 1, bias=False) for _ in range(3))
        self.norm, self.dropout = nn.BatchNorm1d(1), nn.Dropout(0.5)
        for layer in (self.shared, self.first, self.second):
            nn.init.ones_(layer.weight)
        # otherwise the gradients of the heads would be in the ratio of those of the shared weight
        nn.init.constant_(self.first.weight, 2)

    def forward(self, x):
        """Output of both."""
        self.norm(self.dropout(x))
        x = self.shared(x)
        return NetworkOutput(self.first(x), self.second(x))


@pytest.mark.parametrize("scaler", [None, torch.GradScaler("cpu", init_scale=4.0)])
def test_shares_are_those_of_the_parameters_that_all_components_train(scaler):
    loss = CompositeLoss(Mean(), {"auxiliary": (3.0, lambda output, _: output.mean())})
    network, x = TwoHeads(), torch.ones(2, 1)
    torch.manual_seed(0)
    shares = gradient_shares(loss, network, lambda: loss(network(x), None), scaler)
    assert shares == pytest.approx({"segmentation": 0.4, "auxiliary": 0.6})
    after = torch.rand(1)
    torch.manual_seed(0)
    assert after == torch.rand(1)
    assert loss.pop_component_means() == {}
    assert network.norm.running_mean == 0
    assert all(parameter.grad is None for parameter in network.parameters())


class Mean(nn.Module):
    """Mean of the logits."""

    def forward(self, logits, target):
        """Whatever the target."""
        return logits.mean()


def test_shares_are_measured_in_every_tenth_epoch(tmp_path):
    trainer = make_trainer(ModalityPairingTrainer, Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    for epoch in (0, 1, 10):
        trainer.current_epoch = epoch
        while len(trainer.log_curves[NORM]) < epoch:
            for values in filter(None, trainer.log_curves.values()):
                values.append(values[-1])
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step({"data": images, "target": target}) for _ in range(2)])
    curves = [trainer.log_curves[SHARE_PREFIX + name] for name in ("segmentation", "modality_pairing")]
    for epoch in (0, 10):
        assert sum(curve[epoch] for curve in curves) == pytest.approx(1)
        assert all(0 < curve[epoch] < 1 for curve in curves)
    assert math.isnan(curves[0][1])


def test_out_of_memory_leaves_the_shares_out_and_the_training_as_it_was(tmp_path, monkeypatch):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    network = trainer.network

    def out_of_memory(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("nnunet_ext.trainers.base.gradient_shares", out_of_memory)
    trainer.on_train_epoch_start()
    trainer.on_train_epoch_end([trainer.train_step({"data": images, "target": target})])
    assert trainer.network is network
    assert all(math.isnan(trainer.log_curves[SHARE_PREFIX + name][0]) for name in trainer.loss.component_names)


def test_health_is_drawn_in_the_first_epochs_then_in_every_tenth_and_at_the_end():
    assert [epoch for epoch in range(1, 33) if is_drawn_after(epoch, 32)] == [*range(1, 11), 20, 30, 32]


def test_warned_of_once_although_stopped_and_continued(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(regions=True), tmp_path)
    for epoch in range(PATIENCE + 3):
        if epoch == PATIENCE + 1:
            trainer.current_epoch = epoch - 1
            trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
            first_log = Path(trainer.log_file).read_text()
            trainer = make_trainer(AutoencoderRegularizedTrainer, Case(regions=True), tmp_path / "again")
            trainer.load_checkpoint(str(tmp_path / "checkpoint.pth"))
        trainer.current_epoch = epoch
        trainer._health.pop_sums = lambda: {
            "counts": [[0, 9, 9], [1, 1, 1], [0, 0, 0], [10, 10, 10]],
            "gradients": [[1, 1, 1], [1, 1, 1]],
            "norms": [0, 0, 0, 0],
        }
        trainer._log_health()
    assert first_log.count("WARNING: Region 'whole_tumor' is found nearly nowhere (0 % of the voxels") == 1
    assert first_log.count("WARNING") == 1
    assert "WARNING" not in Path(trainer.log_file).read_text()
    assert trainer.log_curves[CALLED] == [[0, 0.9, 0.9]] * (PATIENCE + 3)


def test_checkpoint_of_before_has_no_health_of_its_epochs(tmp_path):
    trainer = make_trainer(AutoencoderRegularizedTrainer, Case(regions=True), tmp_path)
    for name in [name for name in trainer.log_curves if name.startswith("health_")]:
        del trainer.log_curves[name]
    trainer.current_epoch = 1
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = make_trainer(AutoencoderRegularizedTrainer, Case(regions=True), tmp_path / "again")
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert [[math.isnan(x) for x in values] for values in resumed.log_curves[CALLED]] == [[True] * 3] * 2
    assert [math.isnan(value) for value in resumed.log_curves[NORM]] == [True] * 2
