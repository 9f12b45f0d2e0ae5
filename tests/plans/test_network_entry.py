"""Which plans a network can be written into."""

import pytest
from torch import nn

from nnunet_ext.plans.network_entry import PlansError, resolved_configuration, write_architecture
from nnunet_ext.testing import Case


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
