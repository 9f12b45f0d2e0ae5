"""Surfaces of masks and the distances between them, which HD95 and the surface Dice reduce to one number.

There are two kinds of surface in use, and numbers from one do not compare with numbers from the other:

- :func:`corner_surface`, between the voxels: its points are the corners at which voxels inside and outside meet, each
  weighing as much as the surface area in its cell. That of surface-distance, which BraTS 2023 uses.
- :func:`border_surface`, made of the mask's own voxels that share a face with the outside, each weighing the same. That
  of MedPy and panoptica, which BraTS 2025 uses.

Both take a map of components, so that the surfaces of all lesions of an image are found in one pass. Distances are in
double precision by a tree over the surface's points, which beats a distance map of the whole image. Area tables come
from MONAI, imported where it is used, because that takes seconds also in processes that only read files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.spatial import KDTree


@dataclass(frozen=True)
class Surface:
    """Points of a surface.

    Args:
        points: Positions in voxels, ``(N, d)`` integers in the order of the array's axes.
        areas: What each point weighs, ``(N,)``: area in mm² (in 2d length in mm) or 1.
        spacing: Voxel spacing in mm in the order of the axes.
    """

    points: np.ndarray
    areas: np.ndarray
    spacing: tuple[float, ...]

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points * np.array(self.spacing), leafsize=32, compact_nodes=False, balanced_tree=False)

    def distances_to(self, other: "Surface") -> np.ndarray:
        """Distance of each point to the nearest point of the other surface in mm; ``inf`` where that has none."""
        if not len(other.points):
            return np.full(len(self.points), np.inf)
        nearest = other._tree.query(self.points * np.array(self.spacing))[1]
        # From whole voxels, so that a distance equals a tolerance where it should: 3 * 0.1 - 2 * 0.1 is not 0.1.
        steps = (self.points - other.points[nearest]) * np.array(self.spacing)
        return np.sqrt((steps * steps).sum(axis=1))


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces in both directions.

    Args:
        distances: Reference to prediction and prediction to reference, in mm.
        areas: What the points weigh, in the same order.
    """

    distances: tuple[np.ndarray, np.ndarray]
    areas: tuple[np.ndarray, np.ndarray]


def surface_distances(reference: Surface, prediction: Surface) -> SurfaceDistances:
    """Distances of each surface's points to the other surface."""
    return SurfaceDistances(
        (reference.distances_to(prediction), prediction.distances_to(reference)), (reference.areas, prediction.areas)
    )


def union(surfaces: Sequence[Surface]) -> Surface:
    """Surface of several components together; components do not touch, so that no point is in two of them."""
    return Surface(
        np.concatenate([surface.points for surface in surfaces]),
        np.concatenate([surface.areas for surface in surfaces]),
        surfaces[0].spacing,
    )


def corner_surface(mask: np.ndarray, spacing: Sequence[float]) -> Surface:
    """Surface between the voxels of a mask and the others; the outside of the image counts as outside the mask.

    Args:
        mask: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        spacing: Voxel spacing in mm in the order of the axes.
    """
    return corner_surfaces(mask.astype(np.uint8), 1, spacing)[0]


def border_surface(mask: np.ndarray, spacing: Sequence[float]) -> Surface:
    """Voxels of a mask with a face to the outside; the outside of the image counts as outside the mask.

    Args:
        mask: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        spacing: Voxel spacing in mm in the order of the axes.
    """
    return border_surfaces(mask.astype(np.uint8), 1, spacing)[0]


def corner_surfaces(components: np.ndarray, number: int, spacing: Sequence[float]) -> list[Surface]:
    """:func:`corner_surface` of each component.

    Args:
        components: Component of each voxel from 1 on, 0 outside; no two components share a corner.
        number: Number of components.
        spacing: Voxel spacing in mm in the order of the axes.
    """
    spacing = tuple(float(value) for value in spacing)
    areas_of_code, bits = _area_table(spacing)
    codes = _neighbourhood_codes(components != 0, bits)
    points = np.argwhere((codes != 0) & (codes != len(areas_of_code) - 1))
    padded = np.pad(components, 1)
    around = [padded[tuple((points + offset).T)] for offset in np.ndindex(bits.shape)]
    return _of_components(
        points, areas_of_code[codes[tuple(points.T)]], owners=np.max(around, axis=0), number=number, spacing=spacing
    )


def border_surfaces(components: np.ndarray, number: int, spacing: Sequence[float]) -> list[Surface]:
    """:func:`border_surface` of each component.

    Args:
        components: Component of each voxel from 1 on, 0 outside; no two components share a face.
        number: Number of components.
        spacing: Voxel spacing in mm in the order of the axes.
    """
    mask = components != 0
    padded = np.pad(mask, 1)
    inside = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):
            neighbour = [slice(1, -1)] * mask.ndim
            neighbour[axis] = slice(start, start + mask.shape[axis])
            inside &= padded[tuple(neighbour)]
    points = np.argwhere(mask & ~inside)
    owners = components[tuple(points.T)]
    return _of_components(
        points, np.ones(len(points)), owners=owners, number=number, spacing=tuple(float(value) for value in spacing)
    )


def weighted_percentile(distances: np.ndarray, areas: np.ndarray, fraction: float = 0.95) -> float:
    """First distance, in rising order, at which the fraction of the area is reached; ``inf`` without points."""
    if not len(distances):
        return np.inf
    # Sorted by distance and then area, as the reference implementation sorts pairs.
    order = np.lexsort((areas, distances))
    reached = np.cumsum(areas[order]) / np.sum(areas[order])
    index = min(int(np.searchsorted(reached, fraction)), len(order) - 1)
    return float(distances[order][index])


def _of_components(
    points: np.ndarray, areas: np.ndarray, owners: np.ndarray, number: int, spacing: tuple[float, ...]
) -> list[Surface]:
    order = np.argsort(owners, kind="stable")
    ends = np.searchsorted(owners[order], np.arange(1, number + 1), side="right")
    starts = np.concatenate(([0], ends[:-1])).astype(int)
    return [
        Surface(points[order[start:end]], areas[order[start:end]], spacing)
        for start, end in zip(starts, ends, strict=True)
    ]


@lru_cache(maxsize=8)
def _area_table(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Surface area of each code of a neighbourhood, and the bit of each voxel in it."""
    import torch
    from monai.metrics.utils import get_code_to_measure_table

    # MONAI makes the table in torch's default precision. Rounded areas reach 95 % of a surface one point earlier or
    # later than the official tool's where the percentile falls between two distances.
    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        table, kernel = get_code_to_measure_table(spacing)
    finally:
        torch.set_default_dtype(precision)
    return table.numpy(), kernel[0, 0].numpy().astype(np.uint8)


def _neighbourhood_codes(mask: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Which voxels around each corner are in the mask, as a sum of the bits; one corner more than voxels an axis.

    MONAI's convolution takes 7 s for one 240x240x155 mask where these shifted sums of bytes take 0.1 s.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for offset in np.ndindex(bits.shape):
        window = tuple(slice(start, start + size) for start, size in zip(offset, codes.shape, strict=True))
        codes += bits[offset] * padded[window]
    return codes
