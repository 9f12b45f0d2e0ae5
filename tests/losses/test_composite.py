"""Sum, switching and recording of loss components."""

import pytest
import torch
from torch import nn

from nnunet_ext.architectures import NetworkOutput
from nnunet_ext.losses import CompositeLoss


class SquaredError(nn.Module):
    def forward(self, logits, target):
        return (logits - target).square().mean()


def make(**weights):
    functions = {"size": lambda auxiliary, target: auxiliary.sum(), "distance": lambda a, t: (a - t).abs().sum()}
    return CompositeLoss(SquaredError(), {name: (weight, functions[name]) for name, weight in weights.items()})


OUTPUT = NetworkOutput(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
TARGET = torch.tensor([0.0, 1.0])  # squared error (1 + 4) / 2 = 2.5; size 4; distance 2 + 1 = 3


def test_total_is_the_weighted_sum():
    assert make(size=0.5, distance=2.0)(OUTPUT, TARGET).item() == 2.5 + 0.5 * 4 + 2 * 3


def test_logits_alone_give_the_segmentation_loss_and_record_nothing():
    loss = make(size=0.5)
    assert loss(OUTPUT.logits, TARGET).item() == 2.5
    assert loss.pop_component_means() == {}


def test_weight_zero_gives_exactly_the_segmentation_loss():
    loss = make(size=0.0)
    assert torch.equal(loss(OUTPUT, TARGET), SquaredError()(OUTPUT.logits, TARGET))
    assert loss.component_names == ("segmentation",)


def test_means_are_unweighted_and_start_anew():
    loss = make(size=0.5)
    loss(OUTPUT, TARGET)
    loss(NetworkOutput(TARGET, torch.tensor([0.0, 2.0])), TARGET)
    assert loss.pop_component_means() == {"segmentation": 1.25, "size": 3.0}
    assert loss.pop_component_means() == {}


def test_recording_holds_no_graph():
    loss = make(size=0.5)
    logits = torch.ones(2, requires_grad=True)
    loss(NetworkOutput(logits, torch.ones(2)), TARGET)
    assert not any(value.requires_grad for value in loss._sums.values())


def test_component_cannot_be_called_segmentation():
    with pytest.raises(ValueError, match="segmentation"):
        CompositeLoss(SquaredError(), {"segmentation": (1.0, lambda a, t: a)})
