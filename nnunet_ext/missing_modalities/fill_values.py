"""The raw intensity that normalization turns into 0, which is what a missing modality is to a network."""

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.host.data import normalization_of
from nnunet_ext.plans.modalities import channel_names

# An image that is 0 everywhere: no deviation from its mean (z-score, inside a mask or not), nothing between its
# minimum and maximum, or 0 as it is.
STAYS_ZERO = ("ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization")
FROM_FINGERPRINT = "CTNormalization"  # subtracts the mean of the training data's foreground


def fill_values(dataset_json: Mapping[str, Any], plans: Mapping[str, Any] | None) -> list[float]:
    """Raw value of a missing channel, for each channel.

    Args:
        dataset_json: Content of ``dataset.json``.
        plans: Content of a plans file; None where nothing is planned yet.

    Raises:
        InputError: A normalization that is not nnU-Net's own, or CT without plans.
    """
    names = channel_names(dataset_json)
    schemes = _planned_schemes(plans) if plans is not None else _schemes_of(names)
    values, problems = [], []
    for channel, (name, scheme) in enumerate(zip(names, schemes, strict=True)):
        value = 0.0
        if scheme == FROM_FINGERPRINT:
            if plans is None:
                problems.append(
                    f"Channel '{name}' is normalized by the mean of the training data, which is not known yet. "
                    "Plan with the complete cases first, or name a trained model (-m)."
                )
            else:
                value = float(plans["foreground_intensity_properties_per_channel"][str(channel)]["mean"])
        elif scheme not in STAYS_ZERO:
            problems.append(
                f"Channel '{name}' is normalized by {scheme}, of which it is not known what it turns into 0; "
                f"known are {', '.join((*STAYS_ZERO, FROM_FINGERPRINT))}."
            )
        values.append(value)
    if problems:
        raise InputError(problems)
    return values


def _planned_schemes(plans: Mapping[str, Any]) -> Sequence[str]:
    # the same in every configuration; a configuration that inherits has none of its own
    return next(c["normalization_schemes"] for c in plans["configurations"].values() if "normalization_schemes" in c)


def _schemes_of(names: Sequence[str]) -> Sequence[str]:
    return [normalization_of(name) for name in names]
