"""Normalized surface Dice: how much of both surfaces lies within a tolerance of the other one.

Two definitions are in use whose numbers do not compare: by surface area over the corners between voxels (Nikolov et al.
2018, https://arxiv.org/abs/1809.04430, and their surface-distance), and by counting border voxels (panoptica, BraTS
2025). See ``docs/evaluation.md``.
"""

from collections.abc import Sequence

import numpy as np

from nnunet_ext.evaluation.hausdorff import bounding_box
from nnunet_ext.evaluation.surfaces import SurfaceDistances, border_surface, corner_surface, surface_distances


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
