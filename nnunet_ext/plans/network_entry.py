"""Write a method's network and settings into nnU-Net's plans, which carry both to every later command."""

import pydoc
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import nn

from nnunet_ext.errors import UserError
from nnunet_ext.host.plans import resolved

RESIDUAL_ENCODER = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
HOST_NETWORKS = ("dynamic_network_architectures.architectures.unet.PlainConvUNet", RESIDUAL_ENCODER)


# What plans may name: `pydoc.locate`, by which nnU-Net finds it, imports and returns anything that can be imported
NETWORK_NAME = r"(dynamic_network_architectures\.architectures\.\w+|nnunet_ext\.architectures)\.[A-Z]\w*"
LAYER_NAME = (
    r"(torch\.nn(\.modules\.\w+)?|dynamic_network_architectures\.building_blocks\.\w+|nnunet_ext\.architectures)"
    r"\.[A-Z]\w*"
)


class PlansError(UserError):
    """Plans that a trainer cannot use."""


def check_names(plans: dict[str, Any], configuration: str) -> None:
    """Refuse plans whose network is not one of nnU-Net's or of this package's, before anything that they name is used.

    Args:
        plans: Content of a plans file, perhaps somebody else's; not changed.
        configuration: For example ``"3d_fullres"``.

    Raises:
        PlansError: The network, or one of its arguments that are classes, is anything else; with its name.
    """
    name = resolved_configuration(plans, configuration)["architecture"]["network_class_name"]
    _check_name(name, NETWORK_NAME, plans, configuration)
    _check_layers(plans, configuration)


def _check_layers(plans: dict[str, Any], configuration: str) -> None:
    entry = resolved_configuration(plans, configuration)["architecture"]
    for key in entry["_kw_requires_import"]:
        if (name := entry["arch_kwargs"].get(key)) is not None:
            _check_name(name, LAYER_NAME, plans, configuration)


def _check_name(name: Any, pattern: str, plans: dict[str, Any], configuration: str) -> None:
    found = pydoc.locate(name) if isinstance(name, str) and re.fullmatch(pattern, name) else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise PlansError(
            f"Configuration '{configuration}' of plans '{plans.get('plans_name')}' names {name!r}, which is no network "
            "of nnU-Net or nnunet_ext and no layer of PyTorch. It is not used, because it could run any program."
        )


def network_path(network_class: type[nn.Module]) -> str:
    """Path under which plans name a network of this package; independent of the file that holds it."""
    return f"nnunet_ext.architectures.{network_class.__name__}"


def resolved_configuration(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """A configuration with what it inherits from others, as nnU-Net resolves it; old plans formats included.

    Args:
        plans: Content of a plans file; not changed.
        configuration: For example ``"3d_fullres"``.

    Raises:
        PlansError: The plans have no such configuration.
    """
    if configuration not in plans["configurations"]:
        raise PlansError(
            f"Plans '{plans['plans_name']}' have no configuration '{configuration}'; "
            f"they have {', '.join(plans['configurations'])}."
        )
    return resolved(plans, configuration)


def write_architecture(
    plans: dict[str, Any],
    configuration: str,
    network_class: type[nn.Module],
    topology: Callable[[dict[str, Any]], dict[str, Any]],
    method_kwargs: dict[str, Any],
) -> None:
    """Make a configuration's architecture entry describe a network of this package, in place.

    Args:
        plans: Content of a plans file; its entry for ``configuration`` is changed.
        configuration: For example ``"3d_fullres"``.
        network_class: Network of this package.
        topology: Takes the constructor arguments of nnU-Net's U-Net from its plans, returns those that the network
            takes from them. Not called for plans that already describe this network.
        method_kwargs: Constructor arguments that come from the settings and the dataset.

    Raises:
        PlansError: No such configuration, or the plans were made for another network.
    """
    architecture = resolved_configuration(plans, configuration)["architecture"]
    name = architecture["network_class_name"]
    own = network_path(network_class)
    if name in HOST_NETWORKS:
        kwargs = topology(deepcopy(architecture["arch_kwargs"]))
    elif name == own:
        kwargs = deepcopy(architecture["arch_kwargs"])
    else:
        raise PlansError(
            f"Configuration '{configuration}' of plans '{plans['plans_name']}' was made for {name}, "
            f"which cannot be turned into {own}. Use plans made by nnUNetv2_plan_experiment or for {own} (-p NAME)."
        )
    _check_layers(plans, configuration)
    plans["configurations"][configuration]["architecture"] = {
        "network_class_name": own,
        "arch_kwargs": {**kwargs, **method_kwargs},
        # nnU-Net looks up each of these among the arguments
        "_kw_requires_import": [name for name in architecture["_kw_requires_import"] if name in kwargs],
    }


def check_host_network(plans: dict[str, Any], configuration: str) -> None:
    """Raise unless a configuration's network is one that nnU-Net plans itself.

    Args:
        plans: Content of a plans file; not changed.
        configuration: For example ``"3d_fullres"``.

    Raises:
        PlansError: No such configuration, or another network.
    """
    name = resolved_configuration(plans, configuration)["architecture"]["network_class_name"]
    if name not in HOST_NETWORKS:
        raise PlansError(
            f"Configuration '{configuration}' of plans '{plans['plans_name']}' was made for {name}; this trainer "
            f"trains {' or '.join(network.rpartition('.')[2] for network in HOST_NETWORKS)}. "
            "Use plans made by nnUNetv2_plan_experiment (-p NAME)."
        )
    _check_layers(plans, configuration)
