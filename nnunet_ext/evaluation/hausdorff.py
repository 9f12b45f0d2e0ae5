"""HD95, the 95th percentile of surface distances, in the two definitions in use.

Both definitions return different numbers for the same masks, and papers seldom say which one they print. See
``docs/evaluation.md``. Surfaces and distances come from SciPy, as MONAI takes them too, and the table of areas from
MONAI. The neighbourhood codes are computed here, because MONAI's convolution takes 7 s for one 240x240x155 mask where
shifted sums of bytes take 0.1 s. MONAI is imported where its table is used: with PyTorch it takes seconds in every
process, more than scoring a few cases.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

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
    # what is outside the image counts as outside the mask: the border value of SciPy's erosion is 0
    first, second = (mask & ~ndimage.binary_erosion(mask) for mask in (reference, prediction))
    distances = [_distances(first, second, spacing), _distances(second, first, spacing)]
    return float(np.percentile(np.concatenate(distances), 95))


def directed_hd95(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """``max(percentile_95 of d(a, B), percentile_95 of d(b, A))``, weighted by surface area; both must be non-empty.

    The surface runs between voxels: its points are the corners at which voxels inside and outside the mask meet (the
    outside of the image counts as outside the mask), and each weighs as much as the area in mm² (in 2d: length in mm)
    of the surface in its cell. A percentile is the first distance, in rising order, at which 95 % of the area is
    reached. The two directions are not pooled, so scattered false positives count in full: they are a large part of
    the prediction's surface even where they are a small part of both. This is the definition of surface-distance, which
    BraTS 2023 uses.
    """
    from monai.metrics.utils import get_code_to_measure_table

    table, kernel = get_code_to_measure_table(tuple(float(value) for value in spacing))
    areas_of_code, bits = table.numpy().astype(np.float64), kernel[0, 0].numpy().astype(np.uint8)
    codes = [_neighbourhood_codes(mask, bits) for mask in (reference, prediction)]
    edges = [(code != 0) & (code != len(areas_of_code) - 1) for code in codes]
    percentiles = []
    for own, other in ((0, 1), (1, 0)):
        distances = _distances(edges[own], edges[other], spacing)
        percentiles.append(_weighted_percentile_95(distances, areas_of_code[codes[own][edges[own]]]))
    return max(percentiles)


def _distances(own: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm from each point of one surface to the nearest of the other; boolean masks of one shape."""
    distances: np.ndarray = ndimage.distance_transform_edt(~other, sampling=spacing)[own]
    return distances


def _neighbourhood_codes(mask: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Which voxels around each corner are in the mask, as a sum of the bits; one corner more than voxels an axis."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for offset in np.ndindex(bits.shape):
        window = tuple(slice(start, start + size) for start, size in zip(offset, codes.shape, strict=True))
        codes += bits[offset] * padded[window]
    return codes


def _weighted_percentile_95(distances: np.ndarray, areas: np.ndarray) -> float:
    # Sorted by distance and then area, as the reference implementation sorts pairs.
    order = np.lexsort((areas, distances))
    reached = np.cumsum(areas[order]) / np.sum(areas)
    index = min(int(np.searchsorted(reached, 0.95)), len(order) - 1)
    return float(distances[order][index])


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box around the voxels of a mask that is not empty, as slices."""
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(occupied[0], occupied[-1] + 1))
    return tuple(box)
