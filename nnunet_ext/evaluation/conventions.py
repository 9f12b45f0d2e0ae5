"""What stands in the place of a metric where the reference, the prediction or both are empty."""

import math
from dataclasses import dataclass
from typing import Literal

from nnunet_ext.labels.dataset_labels import DatasetLabels

Emptiness = Literal["neither", "both", "reference", "prediction"]


@dataclass(frozen=True)
class Convention:
    """Values for empty masks; NaN leaves the case out of the mean.

    The Dice coefficient of one empty and one non-empty mask is 0 by its formula, in every convention.

    Args:
        name: Name on the command line.
        both_empty: Dice and sensitivity where both masks are empty.
        both_empty_hd95: HD95 in mm where both masks are empty.
        one_empty_hd95: HD95 in mm where exactly one mask is empty.
        false_positive_sensitivity: Sensitivity where only the reference is empty.
        both_empty_volume_difference: Relative volume difference where both masks are empty.
    """

    name: str
    both_empty: float
    both_empty_hd95: float
    one_empty_hd95: float
    false_positive_sensitivity: float
    both_empty_volume_difference: float


# The challenges publish rules for Dice and HD95. For sensitivity and volume they publish none: our choice is to treat
# an empty mask that is predicted empty as perfect, as their rule for Dice does.
CONVENTIONS = {
    "brats2020": Convention(
        name="brats2020",
        both_empty=1.0,
        both_empty_hd95=0.0,
        one_empty_hd95=373.12866,  # mm, the diagonal of a 240x240x155 image of 1 mm voxels; used for every grid
        false_positive_sensitivity=0.0,
        both_empty_volume_difference=0.0,
    ),
    "brats2018": Convention(
        name="brats2018",
        both_empty=1.0,
        both_empty_hd95=math.nan,
        one_empty_hd95=math.nan,
        false_positive_sensitivity=0.0,
        both_empty_volume_difference=0.0,
    ),
    "nan": Convention(
        name="nan",
        both_empty=math.nan,
        both_empty_hd95=math.nan,
        one_empty_hd95=math.nan,
        false_positive_sensitivity=math.nan,
        both_empty_volume_difference=math.nan,
    ),
}


def default_convention(labels: DatasetLabels) -> str:
    """``"brats2020"`` for data sets with the three BraTS regions, nnU-Net's ``"nan"`` for all others."""
    return "brats2020" if labels.is_brats else "nan"


def apply_convention(metrics: dict[str, float], empty: Emptiness, convention: Convention) -> dict[str, float]:
    """Metrics with the convention's values where a mask is empty.

    Args:
        metrics: ``dice``, ``sensitivity``, ``specificity``, ``relative_volume_difference``, and HD95 in one
            column a definition, see :func:`nnunet_ext.evaluation.hausdorff.hd95_columns`.
        empty: Which of the masks are empty.
        convention: Values to use. The surface Dice (``nsd``, ``nsd_voxel``), if there is one, counts as Dice does.

    Returns:
        The metrics, and beside each HD95 the same ``_without_penalty``: NaN where exactly one mask is empty.
    """
    result = dict(metrics)
    distances = [name for name in metrics if name.startswith("hd95")]
    surface_dice = [name for name in metrics if name.startswith("nsd")]
    if empty == "both":
        result |= dict.fromkeys(surface_dice, convention.both_empty)
        result["dice"] = result["sensitivity"] = convention.both_empty
        result |= dict.fromkeys(distances, convention.both_empty_hd95)
        result["relative_volume_difference"] = convention.both_empty_volume_difference
    elif empty in ("reference", "prediction"):
        result |= dict.fromkeys(surface_dice, 0.0)
        result |= dict.fromkeys(distances, convention.one_empty_hd95)
        if empty == "reference":
            result["sensitivity"] = convention.false_positive_sensitivity
    one_empty = empty in ("reference", "prediction")
    return result | {f"{name}_without_penalty": math.nan if one_empty else result[name] for name in distances}
