"""A row a case and region: how large, between which limits, how far the members agree, and whether to look at it."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnunet_ext.labels.dataset_labels import Region

INTERVAL = (5.0, 95.0)  # percentiles: 90 % of the members are between them
FLAG_BELOW = 0.7  # expected Dice. Our choice: where the QU literature, too, calls a case a bad one


def agreement(masks: Sequence[np.ndarray]) -> float:
    """Expected Dice: the mean over all pairs of members; NaN of fewer than two. Two empty masks agree: 1.

    It is the Dice that one member expects another to give it, as if the truth were one of them.

    Args:
        masks: Boolean mask of each member, of one shape.
    """
    sizes = [int(np.count_nonzero(mask)) for mask in masks]
    scores = []
    for (first, first_size), (second, second_size) in itertools.combinations(zip(masks, sizes, strict=True), 2):
        together = first_size + second_size
        scores.append(2 * int(np.count_nonzero(first & second)) / together if together else 1.0)
    return float(np.mean(scores)) if scores else math.nan


def volume_interval(volumes: Sequence[float]) -> tuple[float, float]:
    """5th and 95th percentile of the members' volumes, linear between two of them; NaN of fewer than two.

    Of fewer than 20 members these lie just inside the smallest and the largest one, so that the interval of five says
    little more than how far they are apart.
    """
    if len(volumes) < 2:
        return math.nan, math.nan
    low, high = np.percentile(volumes, INTERVAL)
    return float(low), float(high)


def case_row(
    case: str,
    region: Region,
    label_maps: Sequence[np.ndarray],
    mean_label_map: np.ndarray,
    confidence: float,
    voxel_volume: float,
    flag_below: float,
) -> dict[str, Any]:
    """Row of ``cases.csv``.

    Args:
        case: Its name.
        region: The region.
        label_maps: Label map of each member.
        mean_label_map: Label map of the mean probabilities, as ``nnUNetv2_ensemble`` makes it.
        confidence: Mean probability over the region; NaN where it is empty.
        voxel_volume: In mm³, in 2d mm².
        flag_below: Expected Dice below which the row is flagged.
    """
    masks = [region.mask(label_map) for label_map in label_maps]
    low, high = volume_interval([int(np.count_nonzero(mask)) * voxel_volume for mask in masks])
    expected = agreement(masks)
    return {
        "case": case,
        "region": region.name,
        "members": len(masks),
        "volume": int(np.count_nonzero(region.mask(mean_label_map))) * voxel_volume,
        "volume_low": low,
        "volume_high": high,
        "volume_unit": f"mm{mean_label_map.ndim}",
        "expected_dice": expected,
        "mean_confidence": confidence,
        "flagged": bool(expected < flag_below),
    }
