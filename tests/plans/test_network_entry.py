"""Which plans a network can be written into."""

import json
import re
from pathlib import Path

import pytest
from torch import nn

from nnunet_ext.plans.network_entry import (
    PlansError,
    check_host_network,
    check_names,
    resolved_configuration,
    write_architecture,
)
from nnunet_ext.testing import Case
from nnunet_ext.trainers import TRAINERS

MODELS = Path(__file__).parents[1] / "data" / "models"


class Network(nn.Module):
    """Stands for a network of this package."""


def write(plans, configuration="3d"):
    write_architecture(plans, configuration, Network, lambda kwargs: {"strides": kwargs["strides"]}, {"extra": 1})
    return plans["configurations"][configuration]["architecture"]


@pytest.mark.parametrize("residual", [False, True])
def test_nnunets_networks_are_replaced(residual):
    architecture = write(Case(residual=residual).plans)
    assert architecture["network_class_name"] == "nnunet_ext.architectures.Network"
    assert architecture["arch_kwargs"] == {"strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]], "extra": 1}


def test_plans_for_the_same_network_keep_their_topology():
    plans = Case().plans
    write(plans)["arch_kwargs"].update(strides="other", extra=0)
    assert write(plans)["arch_kwargs"] == {"strides": "other", "extra": 1}


def test_inherited_architecture_is_written_into_the_configuration_itself():
    plans = Case(cascade=True).plans
    write(plans, "3d_cascade_fullres")
    assert "PlainConvUNet" in plans["configurations"]["3d"]["architecture"]["network_class_name"]


def test_plans_for_another_network_are_an_error_that_says_which():
    plans = Case().plans
    plans["configurations"]["3d"]["architecture"]["network_class_name"] = "x.Primus"
    with pytest.raises(PlansError, match=r"made for x\.Primus.*nnUNetv2_plan_experiment"):
        write(plans)


def test_missing_configuration_lists_those_there_are():
    with pytest.raises(PlansError, match="no configuration '3d_lowres'; they have 3d"):
        resolved_configuration(Case().plans, "3d_lowres")


def test_plans_of_the_first_nnunet_v2_versions_are_understood():
    plans = Case().plans
    configuration = plans["configurations"]["3d"]
    kwargs = configuration.pop("architecture")["arch_kwargs"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "num_pool_per_axis": [2, 2, 2],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
    }
    with pytest.warns(UserWarning, match="old nnU-Net plans format"):
        assert write(plans)["arch_kwargs"]["strides"] == kwargs["strides"]


PROGRAM = {"args": "touch PWNED", "shell": True}


@pytest.mark.parametrize(
    ("name", "changes", "refused"),
    [
        ("os.system", {}, "os.system"),
        ("subprocess.Popen", PROGRAM, "subprocess.Popen"),
        ("nnunet_ext.architectures.torch.load", {}, "nnunet_ext.architectures.torch.load"),
        ("nnunet_ext.architectures.nothing", {}, "nnunet_ext.architectures.nothing"),
        ("nnunet_ext.architectures.Any", {}, "nnunet_ext.architectures.Any"),
        ("dynamic_network_architectures.architectures.unet.np.load", {}, "unet.np.load"),
        ("dynamic_network_architectures.architectures.unet.PlainConvUNet\n", {}, "PlainConvUNet"),
        (None, {}, "None"),
        ("dynamic_network_architectures.architectures.unet.PlainConvUNet", {"nonlin": "subprocess.Popen"}, "Popen"),
        ("nnunet_ext.architectures.ModalityPairingUNet", {"norm_op": "torch.load"}, "torch.load"),
        ("nnunet_ext.architectures.ModalityPairingUNet", {"norm_op": "torch.nn.modules.module.torch"}, "module.torch"),
        ("nnunet_ext.architectures.ModalityPairingUNet", {"norm_op": "torch.nn.Parameter"}, "torch.nn.Parameter"),
    ],
)
def test_plans_that_name_programs_are_refused_with_the_name(name, changes, refused):
    plans = Case().plans
    entry = plans["configurations"]["3d"]["architecture"]
    entry["network_class_name"] = name
    entry["arch_kwargs"] |= changes
    with pytest.raises(PlansError, match=r"names '?.*" + re.escape(refused) + ".*could run any program"):
        check_names(plans, "3d")


def test_programs_among_the_layers_are_not_written_into_new_plans():
    plans = Case().plans
    plans["configurations"]["3d"]["architecture"]["arch_kwargs"]["nonlin"] = "subprocess.Popen"
    with pytest.raises(PlansError, match=r"names 'subprocess\.Popen'"):
        write(plans)
    with pytest.raises(PlansError, match=r"names 'subprocess\.Popen'"):
        check_host_network(plans, "3d")


@pytest.mark.parametrize("residual", [False, True])
def test_networks_of_nnunet_and_of_this_package_are_known(residual):
    check_names(Case(residual=residual).plans, "3d")
    for network in ("ModalityPairingUNet", "SegResNetVAE", "BiFPNet", "NestedUNet", "AttentionFusionUNet"):
        plans = Case().plans
        plans["configurations"]["3d"]["architecture"]["network_class_name"] = f"nnunet_ext.architectures.{network}"
        check_names(plans, "3d")


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_what_trainers_write_into_plans_is_known(trainer):
    case = Case()
    check_names(trainer.prepare_plans(case.plans, "3d", case.dataset_json)[0], "3d")


@pytest.mark.parametrize("model", sorted(MODELS.iterdir()), ids=lambda folder: folder.name)
def test_plans_of_earlier_models_are_known(model):
    plans = json.loads((model / "plans.json").read_text())
    for name in plans["configurations"]:
        check_names(plans, name)
