"""nnU-Net's view of a plans file."""

from copy import deepcopy
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

__all__ = ["ConfigurationManager", "PlansManager", "input_channels", "labels_of", "make_json_ready", "resolved"]


def resolved(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """A configuration with what it inherits from others; old plans formats included.

    Args:
        plans: Content of a plans file, which has the configuration; not changed.
        configuration: Its name.
    """
    return PlansManager(deepcopy(plans)).get_configuration(configuration).configuration


def labels_of(plans: dict[str, Any], dataset_json: dict[str, Any]) -> Any:
    """nnU-Net's label manager: ``has_regions``, ``foreground_regions``, ``ignore_label``, and so on.

    Args:
        plans: Content of a plans file.
        dataset_json: Content of ``dataset.json``.
    """
    return PlansManager(plans).get_label_manager(dataset_json)


def input_channels(plans: PlansManager, configuration: ConfigurationManager, dataset_json: dict[str, Any]) -> int:
    """Channels of a network's input, those of a cascade's first stage included."""
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    return determine_num_input_channels(plans, configuration, dataset_json)


def make_json_ready(plans: dict[str, Any]) -> None:
    """Turn NumPy's numbers and arrays into Python's, in place."""
    from nnunetv2.utilities.json_export import recursive_fix_for_json_export

    recursive_fix_for_json_export(plans)
