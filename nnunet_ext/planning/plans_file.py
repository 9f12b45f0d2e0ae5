"""Plans files with a method's settings: what ``nnunet_ext plan`` writes."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from nnunet_ext.files.atomic import write_text_atomically
from nnunet_ext.plans.network_entry import PlansError, resolved_configuration
from nnunet_ext.plans.plans_difference import listed, plans_difference
from nnunet_ext.plans.settings import PLANS_KEY, STRICT, given_settings, setting_problems, settings_block
from nnunet_ext.trainers.base import MethodTrainer


@dataclass(frozen=True, config=STRICT)
class ConfigurationChanges:
    """What ``nnunet_ext plan`` can change in a configuration beside the settings; None keeps nnU-Net's choice.

    The upper limits are our choice: far beyond what is trained, so that a slip of the keyboard is told.
    """

    batch_size: int | None = Field(default=None, ge=1, le=10_000)
    # voxels, in the order of the plans; divisible by the total stride
    patch_size: list[Annotated[int, Field(ge=1, le=4096)]] | None = None
    # of the first stage, 32 in nnU-Net's plans; the others keep their ratio
    base_num_features: int | None = Field(default=None, ge=1, le=512)


CHANGES = tuple(ConfigurationChanges.__dataclass_fields__)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """``["num_epochs=50", "patch_size=[64,64,64]"]`` as a dictionary; values are JSON, anything else is text.

    Raises:
        PlansError: An entry without ``=`` or a key given twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key:
            raise PlansError(f"'{assignment}' is not of the form key=value, for example num_epochs=50.")
        if key in values:
            raise PlansError(f"'{key}' is given twice.")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = text
    return values


def plans_with_settings(
    plans: Mapping[str, Any],
    name: str,
    trainer: type[MethodTrainer],
    dataset_json: Mapping[str, Any],
    values: Mapping[str, Any],
    configurations: Sequence[str] = (),
) -> dict[str, Any]:
    """Plans under a new name with settings and changes; they keep nnU-Net's network entry, so any trainer can use them.

    Args:
        plans: Content of the plans file to start from; not changed.
        name: Name of the new plans.
        trainer: Trainer whose settings the values are.
        dataset_json: Content of ``dataset.json``.
        values: Settings of the trainer, and the keys of ConfigurationChanges.
        configurations: Configurations that the changes apply to; empty means all with as many dimensions as
            ``patch_size`` has.

    Raises:
        UserError: Unknown key, bad value, unknown configuration, patch size that the strides do not divide, or channels
            that do not fit the method.
    """
    new = deepcopy(dict(plans))
    new["plans_name"] = name
    new[PLANS_KEY] = settings_block(
        {**given_settings(new), **{key: value for key, value in values.items() if key not in CHANGES}}
    )
    changes = read_changes(values)
    for configuration in configurations:
        resolved_configuration(new, configuration)
    if changes.patch_size is not None and not configurations:
        _check_dimension(len(changes.patch_size), new)
    for configuration in configurations or list(new["configurations"]):
        resolved = resolved_configuration(new, configuration)
        own = new["configurations"][configuration]
        if "inherits_from" in own and not configurations:
            continue  # gets the changes from the configuration it inherits from
        same_dimension = changes.patch_size is None or len(changes.patch_size) == len(resolved["patch_size"])
        if same_dimension or configurations:
            _apply(changes, configuration, resolved, own)
    notes_on_data(new, trainer, dataset_json)  # raises now what would be raised when training starts
    return new


def notes_on_data(plans: Mapping[str, Any], trainer: type[MethodTrainer], dataset_json: Mapping[str, Any]) -> list[str]:
    """What a training with these plans will say of the data set: modality groups, master modality, guesses.

    Args:
        plans: Content of a plans file; not changed.
        trainer: Trainer that they are for.
        dataset_json: Content of ``dataset.json``.

    Raises:
        UserError: The trainer refuses the plans or the channels.
    """
    notes = [
        note
        for configuration in plans["configurations"]
        for note in trainer.prepare_plans(dict(plans), configuration, dict(dataset_json))[2]
    ]
    return list(dict.fromkeys(notes))


def read_changes(values: Mapping[str, Any]) -> ConfigurationChanges:
    """Those of the values that are changes of configurations.

    Raises:
        PlansError: Wrong type or value out of range.
    """
    try:
        return ConfigurationChanges(**{k: v for k, v in values.items() if k in CHANGES})
    except ValidationError as error:
        raise PlansError(setting_problems(error)) from None


def _check_dimension(dimension: int, plans: dict[str, Any]) -> None:
    axes = {name: len(resolved_configuration(plans, name)["patch_size"]) for name in plans["configurations"]}
    if dimension not in axes.values():
        known = ", ".join(f"{name} {number}" for name, number in axes.items())
        raise PlansError(f"patch_size has {dimension} numbers and fits no configuration. They have axes: {known}.")


def _apply(changes: ConfigurationChanges, name: str, resolved: dict[str, Any], own: dict[str, Any]) -> None:
    architecture = deepcopy(resolved["architecture"])
    if changes.batch_size is not None:
        own["batch_size"] = changes.batch_size
    if changes.patch_size is not None:
        total = np.prod(architecture["arch_kwargs"]["strides"], axis=0).tolist()
        size = changes.patch_size
        if len(size) != len(total) or any(s < 1 or s % t for s, t in zip(size, total, strict=True)):
            raise PlansError(
                f"patch_size {size} does not fit configuration '{name}': it needs {len(total)} numbers that are "
                f"multiples of {total}, its total stride."
            )
        own["patch_size"] = size
    if changes.base_num_features is not None:
        features = architecture["arch_kwargs"]["features_per_stage"]
        architecture["arch_kwargs"]["features_per_stage"] = [
            max(1, round(width * changes.base_num_features / features[0])) for width in features
        ]
        own["architecture"] = architecture


class PlansFile(NamedTuple):
    """A plans file that says what was asked for.

    Attributes:
        path: The file.
        is_new: Whether it was written now; it was there with this content otherwise.
    """

    path: Path
    is_new: bool


def write_plans(plans: Mapping[str, Any], folder: Path, overwrite: bool) -> PlansFile:
    """Write plans as ``folder/<plans_name>.json``, whole or not at all; a file that says the same is left as it is.

    Args:
        plans: The plans.
        folder: Data set's folder in nnUNet_preprocessed.
        overwrite: Whether plans of this name with other content are replaced.

    Raises:
        PlansError: There are plans of this name with other content and ``overwrite`` is off, or the file holds
            something other than plans.
    """
    file = folder / f"{plans['plans_name']}.json"
    text = json.dumps(plans, indent=4)
    if file.exists():
        differences = _difference_from(file, json.loads(text))
        if not differences:
            return PlansFile(file, False)
        if not overwrite:
            raise PlansError(
                f"{file} exists and says something else: {listed(differences)}. "
                "Choose another name with -o, or add --overwrite."
            )
    write_text_atomically(file, text)
    return PlansFile(file, True)


def _difference_from(file: Path, plans: dict[str, Any]) -> list[str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return ["it is cut off"]
    if not isinstance(content, dict) or "configurations" not in content:
        raise PlansError(f"{file} exists and holds no plans. Choose another name with -o.")
    return plans_difference(content, plans)
