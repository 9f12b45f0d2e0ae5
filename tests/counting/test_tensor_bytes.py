"""Counted memory: what is counted, and that counting on stand-ins gives what a real step holds."""

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunet_ext.counting.tensor_bytes import TensorBytes, training_feature_map_size
from nnunet_ext.testing import Case
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
)

TRAINERS = (
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
)


def network_of(trainer, side=16, base=4):
    case = Case(patch_size=(side,) * 3, base=base)
    plans, _, _ = trainer.prepare_plans(case.plans, "3d", case.dataset_json)
    architecture = plans["configurations"]["3d"]["architecture"]
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        4,
        4,
        deep_supervision=trainer.deep_supervision,
    )


def test_counts_what_is_alive_at_once():
    with TensorBytes() as counted:
        a = torch.zeros(100)
        b = torch.zeros(50)
        del a
        c = torch.zeros(10)
    assert counted.peak == 600
    assert counted.current == b.nbytes + c.nbytes


def test_views_and_held_tensors_cost_nothing():
    held = torch.zeros(1000)
    with TensorBytes([held]) as counted:
        held.add_(1)
        a = torch.zeros(100)
        views = held[:10], a.view(10, 10)[0]
    assert counted.peak == 400, views


def test_a_convolution_holds_input_output_and_gradients():
    conv = nn.Conv3d(4, 8, 1, bias=False)
    image, output, gradient_of_output, gradient_of_weight = 4 * 6**3, 8 * 6**3, 8 * 6**3, 32
    size = training_feature_map_size(conv, 4, (6, 6, 6))
    assert size == image + output + gradient_of_output + gradient_of_weight


@pytest.mark.parametrize("trainer", TRAINERS)
def test_feature_map_size_grows_with_the_patch_and_the_width(trainer):
    sizes = [network_of(trainer, side).compute_conv_feature_map_size((side,) * 3) for side in (8, 16, 24)]
    assert sizes == sorted(set(sizes))
    assert network_of(trainer, base=8).compute_conv_feature_map_size((16,) * 3) > 1.4 * sizes[1]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_network_is_left_as_it_was(trainer):
    network = network_of(trainer).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.compute_conv_feature_map_size((16,) * 3)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
