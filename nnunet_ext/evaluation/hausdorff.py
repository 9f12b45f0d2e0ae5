"""HD95, the 95th percentile of surface distances, in the two definitions in use.

Both definitions return different numbers for the same masks, and papers seldom say which one they print. See
``docs/evaluation.md``.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from nnunet_ext.evaluation.surfaces import (
    SurfaceDistances,
    border_surface,
    corner_surface,
    surface_distances,
    weighted_percentile,
)

HD95Definition = Literal["pooled", "directed"]
HD95_DEFINITIONS: tuple[HD95Definition, ...] = get_args(HD95Definition)
HD95Choice = Literal["pooled", "directed", "both"]
HD95_CHOICES: tuple[str, ...] = get_args(HD95Choice)


def hd95_columns(choice: HD95Choice) -> dict[str, HD95Definition]:
    """Columns of ``metrics.csv`` that hold HD95, and the definition of each.

    Args:
        choice: A definition, or both: ``hd95`` is then the pooled one, and ``hd95_directed`` stands beside it.
    """
    if choice == "both":
        return {"hd95": "pooled", "hd95_directed": "directed"}
    return {"hd95": choice}


def hd95(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], definition: HD95Definition = "pooled"
) -> float:
    """95th percentile of the surface distances between two masks in mm.

    Args:
        reference: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        prediction: Boolean mask of the same shape.
        spacing: Voxel spacing in mm in the order of the axes.
        definition: See :func:`pooled_hd95` and :func:`directed_hd95`.

    Raises:
        ValueError: A mask is empty, or the definition is unknown.
    """
    if not reference.any() or not prediction.any():
        raise ValueError("HD95 is not defined for an empty mask.")
    if definition not in HD95_DEFINITIONS:
        raise ValueError(f"Unknown definition of HD95 '{definition}'; there are {', '.join(HD95_DEFINITIONS)}.")
    box = bounding_box(reference | prediction)
    function = pooled_hd95 if definition == "pooled" else directed_hd95
    return function(reference[box], prediction[box], spacing)


def pooled_hd95(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """``percentile_95({d(a, B) : a in A} + {d(b, A) : b in B})`` over surface voxels A and B; both must be non-empty.

    The surface is made of the mask's own voxels that share a face with a voxel outside the mask or outside the image,
    and distances run between voxel centres. So the smallest distance above 0 is one voxel, a structure one voxel thick
    is all surface, and every surface voxel weighs the same however large the surface it stands for. Both directions
    are pooled before the percentile is taken, with linear interpolation: a few false positives far away vanish among
    the voxels of a large, well-placed surface. This is MedPy's definition, which nnU-Net v1 used for BraTS.
    """
    return pooled_percentile_95(
        surface_distances(border_surface(reference, spacing), border_surface(prediction, spacing))
    )


def directed_hd95(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """``max(percentile_95 of d(a, B), percentile_95 of d(b, A))``, weighted by surface area; both must be non-empty.

    The surface runs between voxels: its points are the corners at which voxels inside and outside the mask meet (the
    outside of the image counts as outside the mask), and each weighs as much as the area in mm² (in 2d: length in mm)
    of the surface in its cell. A percentile is the first distance, in rising order, at which 95 % of the area is
    reached. The two directions are not pooled, so scattered false positives count in full: they are a large part of
    the prediction's surface even where they are a small part of both. This is the definition of surface-distance, which
    BraTS 2023 uses.
    """
    return directed_percentile_95(
        surface_distances(corner_surface(reference, spacing), corner_surface(prediction, spacing))
    )


def pooled_percentile_95(surfaces: SurfaceDistances) -> float:
    """Percentile of both directions together, interpolated linearly; of a :func:`border_surface`."""
    return float(np.percentile(np.concatenate(surfaces.distances), 95))


def directed_percentile_95(surfaces: SurfaceDistances) -> float:
    """Larger of the two directions' percentiles by area; of a :func:`corner_surface`. ``inf`` where one is empty."""
    return max(weighted_percentile(*both) for both in zip(surfaces.distances, surfaces.areas, strict=True))


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box around the voxels of a mask that is not empty, as slices."""
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(occupied[0], occupied[-1] + 1))
    return tuple(box)
