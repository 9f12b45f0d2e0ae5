"""Normalized surface Dice: how much of both surfaces lies within a tolerance of the other one.

Two definitions are in use whose numbers do not compare: by surface area over the corners between voxels (Nikolov et al.
2018, https://arxiv.org/abs/1809.04430, and their surface-distance), and by counting border voxels (panoptica, BraTS
2025). See ``docs/evaluation.md``.
"""

import math
from collections.abc import Sequence

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.hausdorff import bounding_box
from nnunet_ext.evaluation.surfaces import SurfaceDistances, border_surface, corner_surface, surface_distances
from nnunet_ext.labels.dataset_labels import DatasetLabels


def parse_tolerances(options: Sequence[str], labels: DatasetLabels) -> dict[str, float]:
    """Tolerance in mm of each region that has one.

    Args:
        options: ``MM`` for every region, ``REGION=MM`` for one, which goes before the former.
        labels: The data set's labels.

    Raises:
        InputError: Not a number of at least 0, a region that the data set does not have, or a second value for one.
    """
    names = [region.name for region in labels.regions]
    tolerances: dict[str, float] = {}
    for option in options:
        region, equals, number = option.rpartition("=")
        if equals and region not in names:
            raise InputError(f"--nsd {option}: no such region; there are {', '.join(names)}.")
        if region in tolerances:
            raise InputError(f"--nsd {option}: a second tolerance for {region or 'every region'}.")
        try:
            tolerances[region] = float(number)
        except ValueError:
            raise InputError(f"--nsd {option}: expected MM or REGION=MM, for example 1 or '{names[0]}=2'.") from None
        if not 0 <= tolerances[region] < math.inf:
            raise InputError(f"--nsd {option}: a tolerance is 0 mm or more.")
    everywhere = tolerances.pop("", None)
    return tolerances if everywhere is None else dict.fromkeys(names, everywhere) | tolerances


def surface_dice(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance: float
) -> tuple[float, float]:
    """Surface Dice of two masks by area and by border voxels.

    Args:
        reference: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        prediction: Boolean mask of the same shape.
        spacing: Voxel spacing in mm in the order of the axes.
        tolerance: In mm; a distance that equals it counts as within.

    Returns:
        :func:`surface_dice_by_area` and :func:`surface_dice_by_voxels`.

    Raises:
        ValueError: A mask is empty.
    """
    if not reference.any() or not prediction.any():
        raise ValueError("The surface Dice is not defined for an empty mask.")
    box = bounding_box(reference | prediction)
    reference, prediction = reference[box], prediction[box]
    by_area = surface_distances(corner_surface(reference, spacing), corner_surface(prediction, spacing))
    by_voxels = surface_distances(border_surface(reference, spacing), border_surface(prediction, spacing))
    return surface_dice_by_area(by_area, tolerance), surface_dice_by_voxels(by_voxels, tolerance)


def surface_dice_by_area(surfaces: SurfaceDistances, tolerance: float) -> float:
    """Area of both surfaces within the tolerance / area of both surfaces; of a corner surface. surface-distance's."""
    pairs = list(zip(surfaces.distances, surfaces.areas, strict=True))
    within = sum(float(areas[distances <= tolerance].sum()) for distances, areas in pairs)
    return within / sum(float(areas.sum()) for _, areas in pairs)


def surface_dice_by_voxels(surfaces: SurfaceDistances, tolerance: float) -> float:
    """Mean of the two surfaces' fractions of voxels within the tolerance; of a border surface. panoptica's.

    A small surface weighs as much as a large one, unlike in :func:`surface_dice_by_area`.
    """
    return float(np.mean([np.mean(distances <= tolerance) for distances in surfaces.distances]))
