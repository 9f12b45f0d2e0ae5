"""Where the voxels of an image lie, and whether two images lie alike."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Largest distance between the corners of two images that count as the same grid, as a fraction of the smallest spacing.
# Headers store rotations as 32-bit quaternions, which moves a corner by less than 0.001 voxels; a real mistake (flipped
# axis, forgotten origin, resampled image) moves one by at least a voxel.
GRID_TOLERANCE = 0.01


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie.

    Args:
        shape: Voxels along each axis, ``(Z, Y, X)`` or ``(Y, X)``.
        spacing: Voxel spacing in mm in the order of the array's axes.
        affine: Maps voxel indices in the order ``(x, y, z)`` to mm, left-posterior-superior; None for formats without.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    affine: np.ndarray | None


def grid_of(shape: tuple[int, ...], properties: Mapping[str, Any]) -> Grid:
    """Grid of an image as nnU-Net's readers return it; a plane that they store as one slice has two dimensions.

    Args:
        shape: Voxels ``(Z, Y, X)``, Z being 1 for a plane.
        properties: What the reader returned beside the array.
    """
    spacing = tuple(float(value) for value in properties["spacing"])
    # nnU-Net's mark for a plane: one slice, 999 times as thick as a pixel is wide
    if shape[0] == 1 and spacing[0] >= 998 * max(spacing[1:]):
        shape, spacing = shape[1:], spacing[1:]
    return Grid(shape, spacing, _affine(properties))


def grid_difference(first: Grid, second: Grid) -> str | None:
    """How two images differ in shape, spacing or position; None where they lie on the same grid.

    The same grid means: same shape, and no corner of the image lies further than ``GRID_TOLERANCE`` times the smallest
    spacing from where the other image has it. Formats without an affine are compared by shape and spacing.
    """
    if first.shape != second.shape:
        return f"shape {first.shape}, expected {second.shape}"
    tolerance = GRID_TOLERANCE * min(second.spacing)
    if not np.allclose(first.spacing, second.spacing, rtol=0, atol=tolerance):
        return f"spacing {_rounded(first.spacing)} mm, expected {_rounded(second.spacing)} mm"
    if first.affine is None or second.affine is None:
        return None
    distance = corner_distance(first.affine, second.affine, first.shape[::-1])
    if distance <= tolerance:
        return None
    return f"other affine: corners lie up to {distance:.3g} mm apart (tolerance {tolerance:.3g} mm)"


def corner_distance(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the corners of two images of one shape.

    Args:
        first: Affine of the first image, ``(d + 1, d + 1)``.
        second: Affine of the second image.
        shape: Number of voxels along each axis, in the order of the affines' columns.
    """
    corners = np.array([(*corner, 1) for corner in itertools.product(*[(0, size - 1) for size in shape])], dtype=float)
    return float(np.linalg.norm((corners @ (first - second).T)[:, :-1], axis=1).max())


def slant(affine: np.ndarray) -> float:
    """By how many degrees the axes of an image miss right angles, at most.

    Args:
        affine: ``(d + 1, d + 1)``.
    """
    axes = affine[:-1, :-1] / np.linalg.norm(affine[:-1, :-1], axis=0)
    cosines = np.abs(axes.T @ axes - np.eye(len(axes)))
    return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))


def _affine(properties: Mapping[str, Any]) -> np.ndarray | None:
    if "sitk_stuff" in properties:
        geometry = properties["sitk_stuff"]
        dimension = len(geometry["spacing"])
        affine = np.eye(dimension + 1)
        affine[:-1, :-1] = np.reshape(geometry["direction"], (dimension, dimension)) * geometry["spacing"]
        affine[:-1, -1] = geometry["origin"]
        return affine
    if "nibabel_stuff" in properties:
        geometry = properties["nibabel_stuff"]
        # of the axes that the array has: one of nnU-Net's readers turns them. nibabel's mm are right-anterior-superior
        affine = geometry.get("reoriented_affine", geometry["original_affine"])
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return None


def _rounded(spacing: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in spacing)
