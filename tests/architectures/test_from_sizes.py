"""Networks in one call: the same that planning makes, from sizes alone."""

import pytest
import torch
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

from nnunet_ext.architectures import (
    AttentionFusionUNet,
    BiFPNet,
    HostUNet,
    ModalityPairingUNet,
    NestedUNet,
    SegResNetVAE,
)
from nnunet_ext.architectures.sizes import halvings, unet_arguments, with_classes
from nnunet_ext.host.plans import PlansManager
from nnunet_ext.testing import Case
from nnunet_ext.trainers import TRAINERS, AttentionFusionTrainer, MethodTrainer
from nnunet_ext.trainers.host_networks import HostNetworkTrainer
from nnunet_ext.trainers.slice_classifier_trainer import SliceClassifierTrainer
from nnunet_ext.trainers.slice_trainer import SliceTrainer

GROUPS = [[3, 2], [1, 0]]
WITH_NETWORK = [trainer for trainer in TRAINERS if hasattr(trainer, "network_class")]
NETWORKS = {
    ModalityPairingUNet: {"modality_groups": GROUPS},
    SegResNetVAE: {},
    AttentionFusionUNet: {"master": 1},
    BiFPNet: {"regions": False},
    NestedUNet: {"regions": False},
    HostUNet: {"regions": False, "autoencoder": True, "slice_classifier": True},
}


@pytest.mark.parametrize(
    "patch", [(128, 128, 128), (16, 96, 40), (12, 12, 24), (5, 9, 7), (256, 256), (32, 8), (64, 12)]
)
def test_strides_are_those_of_nnunets_planner_for_equal_spacing(patch):
    _, strides, kernels, _, _ = get_pool_and_conv_props([1.0] * len(patch), list(patch), 4, 999999)
    assert halvings(patch) == [list(stride) for stride in strides]
    # nnU-Net's planner begins with kernels that grow for unequal spacing; with equal spacing all are 3
    assert {side for kernel in kernels for side in kernel} == {3}


def test_arguments_are_those_of_nnunets_plans():
    case = Case(base=32)
    planned = case.plans["configurations"]["3d"]["architecture"]["arch_kwargs"]
    given = unet_arguments(case.patch_size, 32, case.strides, case.kernel_sizes)
    assert given == planned
    assert unet_arguments((256,) * 3, 32)["features_per_stage"] == [32, 64, 128, 256, 320, 320, 320]
    assert unet_arguments((256,) * 2, 8)["features_per_stage"] == [8, 16, 32, 64, 128, 128, 128]


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("trainer", WITH_NETWORK, ids=lambda trainer: trainer.__name__)
def test_network_is_the_one_that_the_trainer_puts_into_the_plans(trainer: type[MethodTrainer], dimension):
    case = Case(
        dimension=dimension,
        patch_size=(16,) * dimension,
        strides=((1,) * dimension, (2,) * dimension, (2,) * dimension),
        kernel_sizes=((3,) * dimension,) * 3,
        base=8,
    )
    plans, *_ = trainer.prepare_plans(case.plans, case.configuration, case.dataset_json)
    planned = PlansManager(plans).get_configuration(case.configuration).network_arch_init_kwargs
    options = dict(NETWORKS[trainer.network_class])
    if issubclass(trainer, AttentionFusionTrainer):
        options["system"] = trainer.system
    if issubclass(trainer, SliceTrainer):
        options["slice_classifier"] = issubclass(trainer, SliceClassifierTrainer)
    if issubclass(trainer, HostNetworkTrainer):
        settings = trainer.settings_class()
        options |= {"autoencoder": settings.autoencoder_branch, "slice_classifier": settings.slice_classifier}
    recorded = {}

    class Recorder(trainer.network_class):
        def __init__(self, **arguments):
            recorded.update(arguments)

        def apply(self, _):
            return self

    Recorder.from_sizes(4, 4, case.patch_size, base_num_features=8, **options)
    assert recorded.pop("input_channels") == recorded.pop("num_classes") == 4
    # where slices lie is of no matter without a classifier, and trainers mirror as the paper predicts
    for name, value in recorded.items():
        if name in planned and name not in ("slice_axis", "mirror_axes"):
            assert value == with_classes(planned)[name], name
    topology = {"n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides"}
    assert topology <= recorded.keys() & planned.keys()
    built = trainer.network_class.from_sizes(4, 4, case.patch_size, base_num_features=8, **options)
    of_plans = trainer.network_class(input_channels=4, num_classes=4, **with_classes(planned))
    assert {n: w.shape for n, w in built.state_dict().items()} == {n: w.shape for n, w in of_plans.state_dict().items()}


@pytest.mark.parametrize("network_class", NETWORKS, ids=lambda network: network.__name__)
def test_plain_training_loop_lowers_the_loss(network_class):
    torch.manual_seed(0)
    network = network_class.from_sizes(4, 4, (16, 16), base_num_features=4, **NETWORKS[network_class])
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    images = torch.randn(2, 4, 16, 16)
    target = images.argmax(1)
    losses = []
    for _ in range(6):
        output = network(images)
        output = getattr(output, "logits", output)
        loss = sum(
            torch.nn.functional.cross_entropy(logits, target)
            for logits in (output if isinstance(output, list) else [output])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert network.eval()(images).shape == (2, 4, 16, 16)


def test_convolutions_are_initialized():
    torch.manual_seed(0)
    network = NestedUNet.from_sizes(4, 4, (16, 16), regions=False)
    weight = network.nodes["x1_0"].convs[0].conv
    # He: variance 2 / fan-in, biases 0; PyTorch's own has a third of it
    assert weight.weight.var().item() == pytest.approx(2 / (32 * 9), rel=0.1)
    assert not weight.bias.any()


def test_unequal_spacing_takes_strides_and_kernels():
    network = ModalityPairingUNet.from_sizes(
        2,
        2,
        (4, 16, 16),
        base_num_features=2,
        strides=[[1, 1, 1], [1, 2, 2]],
        kernel_sizes=[[1, 3, 3], [3, 3, 3]],
        modality_groups=[[0], [1]],
    )
    assert network.encoder[0][0].convs[0].weight.shape == (2, 1, 1, 3, 3)
    assert network.eval()(torch.zeros(1, 2, 4, 16, 16)).shape == (1, 2, 4, 16, 16)


@pytest.mark.parametrize(
    ("patch", "options", "message"),
    [
        ((16, 16, 16, 16), {}, "two or three axes"),
        ((18, 16), {}, r"\[18, 16\] voxels is no multiple of the total stride \[4, 4\]"),
        ((16, 16), {"strides": [[1, 1], [2, 2]], "kernel_sizes": [[3, 3]]}, "2 strides and 1 kernel sizes"),
        ((16, 16), {"strides": [[1, 1, 1]]}, "no multiple of the total stride"),
        ((4, 4), {}, "at least two stages"),
    ],
)
def test_sizes_that_do_not_fit_are_told(patch, options, message):
    with pytest.raises(ValueError, match=message):
        NestedUNet.from_sizes(4, 4, patch, regions=False, **options)
