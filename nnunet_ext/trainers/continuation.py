"""Whether a training may go on from a checkpoint: what is different from how the checkpoint was trained."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nnunet_ext.errors import UserError
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.plans.settings import TrainingSettings, given_settings, read_settings, settings_as_json


class ContinuationError(UserError):
    """A checkpoint that was trained as something else than what is to be trained."""


class Differences(NamedTuple):
    """What is different, a line each.

    Attributes:
        minor: Of the course of the training, its length for example.
        major: Of the network, the loss or the data.
    """

    minor: list[str]
    major: list[str]


def differences(
    checkpoint: Mapping[str, Any],
    trainer_name: str,
    plans: Mapping[str, Any],
    configuration: str,
    settings: TrainingSettings,
) -> Differences:
    """What is different between a training and the checkpoint that it is to go on from.

    Args:
        checkpoint: Content of the checkpoint.
        trainer_name: Name of the trainer.
        plans: Its plans, with the network's entry that the trainer has written.
        configuration: Its configuration.
        settings: Its settings.
    """
    found = Differences([], [])
    then = checkpoint["init_args"]
    if checkpoint["trainer_name"] != trainer_name:
        found.major.append(f"Trainer is {trainer_name} now; the checkpoint is of {checkpoint['trainer_name']}.")
    # settings that came after the checkpoint have their defaults
    trained_with = settings_as_json(read_settings(type(settings), {})) | given_settings(then["plans"])
    for name, value in settings_as_json(settings).items():
        if trained_with[name] != value:
            kind = found.minor if name in settings.changeable else found.major
            kind.append(f"Setting {name} is {value} now; the checkpoint was trained with {trained_with[name]}.")
    if then["configuration"] != configuration:
        found.major.append(f"Configuration is {configuration} now; the checkpoint is of {then['configuration']}.")
    elif changed := _network_differences(_network(then["plans"], configuration), _network(plans, configuration)):
        found.major.append(f"The network differs from the checkpoint's in {', '.join(changed)}.")
    return found


def _network(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    entry = resolved_configuration(dict(plans), configuration)["architecture"]
    return json.loads(json.dumps({"network_class_name": entry["network_class_name"], **entry["arch_kwargs"]}))


def _network_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    # arguments that came after the checkpoint have their defaults
    return sorted(name for name in then.keys() & now.keys() if then[name] != now[name])
