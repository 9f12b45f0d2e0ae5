"""Settings of a method: the paper's values as defaults, overridden by the ``"nnunet_ext"`` block of a plans file."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from nnunet_ext.errors import UserError
from nnunet_ext.version import __version__, commit

PLANS_KEY = "nnunet_ext"
WRITTEN_BY = "written_by"  # entry of that block: version and commit of this package; says nothing about a training
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class SettingsError(UserError):
    """A setting that does not exist, has the wrong type, or is out of range."""


@dataclass(frozen=True, config=STRICT)
class TrainingSettings:
    """Settings every trainer has. Defaults are nnU-Net's own; a method's settings override those its paper states.

    A training can go on from a checkpoint although settings in ``changeable`` have changed since, as they are neither
    of the network nor of the loss. Others must stay, unless ``continue_with_changes`` is on.
    """

    changeable: ClassVar[frozenset[str]] = frozenset(
        {
            "num_epochs",
            "num_iterations_per_epoch",
            "num_val_iterations_per_epoch",
            "save_every",
            "initial_lr",
            "weight_decay",
            "gradient_clipping",
            "modality_dropout",
            "required_modalities",
            "continue_with_changes",
            "seed",
        }
    )
    num_epochs: int = Field(1000, ge=1)  # nnU-Net
    num_iterations_per_epoch: int = Field(250, ge=1)  # nnU-Net
    num_val_iterations_per_epoch: int = Field(50, ge=1)  # nnU-Net
    save_every: int = Field(50, ge=1)  # nnU-Net; epochs between two checkpoint_latest.pth
    initial_lr: float = Field(1e-2, gt=0)  # nnU-Net
    weight_decay: float = Field(3e-5, ge=0)  # nnU-Net
    gradient_clipping: float = Field(12.0, gt=0)  # nnU-Net; largest Euclidean norm of all gradients of a step together
    # Probability that a training sample loses modalities; "uniform": all sets of modalities are equally likely (14/15
    # with four: the protocol of RFNet, mmFormer and DeMoSeg). 0: none of the methods' papers drops modalities
    modality_dropout: float | Literal["uniform"] = Field(0.0)
    required_modalities: list[str] | None = Field(None)  # channel names that are never dropped
    # Of weights, dropout, and augmentation in the trainer's own process; None, as nnU-Net: not set
    seed: int | None = Field(None, ge=0, lt=2**32)
    continue_with_changes: bool = Field(False)  # --c although trainer, network or loss differ from the checkpoint's

    @field_validator("modality_dropout")
    @classmethod
    def _is_probability(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 <= value <= 1:
            raise ValueError("must be from 0 to 1, or 'uniform'")
        return value


SettingsType = TypeVar("SettingsType", bound=TrainingSettings)


def read_settings(settings_class: type[SettingsType], values: Mapping[str, Any]) -> SettingsType:
    """Settings with the given values in place of the defaults.

    Args:
        settings_class: The method's settings.
        values: Setting name -> value as JSON gives it; an empty mapping gives the paper's values.

    Raises:
        SettingsError: Unknown name, wrong type or value out of range; the message lists the valid settings.
    """
    try:
        return settings_class(**values)
    except ValidationError as error:
        valid = ", ".join(f"{field.name} ({_type_name(field.type)})" for field in fields(settings_class))
        raise SettingsError(
            f"Settings of {settings_class.__name__}: {setting_problems(error)}. Valid settings: {valid}."
        ) from None


def given_settings(plans: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a plans file gives, as its block holds them; without who wrote it."""
    return {name: value for name, value in plans.get(PLANS_KEY, {}).items() if name != WRITTEN_BY}


def settings_block(values: Mapping[str, Any]) -> dict[str, Any]:
    """A plans file's block with settings, and the version and commit that write it."""
    return {**values, WRITTEN_BY: {"version": __version__, "commit": commit()}}


def settings_as_json(settings: TrainingSettings) -> dict[str, Any]:
    """All settings, defaults included, as the plans file holds them."""
    return asdict(settings)


def setting_problems(error: ValidationError) -> str:
    """What is wrong with each value, as one line."""
    return "; ".join(_describe(problem) for problem in error.errors())


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown setting '{name}'"
    message = problem["msg"]
    return f"{name} = {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _type_name(annotation: Any) -> str:
    """A type in a user's words: ``float or 'uniform'``, ``list[str] or null``."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(repr(value) for value in parts)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_type_name(part) for part in parts)
    if annotation is type(None):
        return "null"
    return annotation.__name__ if isinstance(annotation, type) and not parts else str(annotation)
