"""Reading label images with nnU-Net's own readers, and comparing their grids."""

import gzip
import itertools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.host.data import image_readers

# Largest distance between the corners of two images that count as the same grid, as a fraction of the smallest spacing.
# Headers store rotations as 32-bit quaternions, which moves a corner by less than 0.001 voxels; a real mistake (flipped
# axis, forgotten origin, resampled image) moves one by at least a voxel.
GRID_TOLERANCE = 0.01
LARGEST_LABEL = 65535  # nnU-Net writes labels as 8- or 16-bit integers without sign


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


@dataclass(frozen=True)
class LabelImage:
    """A label map and its grid.

    Args:
        labels: Integer label map, ``(Z, Y, X)`` or ``(Y, X)``.
        spacing: Voxel spacing in mm in the order of the array's axes.
        affine: Maps voxel indices in the order ``(x, y, z)`` to mm, left-posterior-superior; None for formats without.
    """

    labels: np.ndarray
    spacing: tuple[float, ...]
    affine: np.ndarray | None

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return Grid(self.labels.shape, self.spacing, self.affine)


def read_image_grid(path: Path, dataset_json: Mapping[str, Any]) -> Grid:
    """Read an image of one channel as nnU-Net reads it, and return its grid.

    Raises:
        InputError: The file is missing, unreadable, truncated, or has several values a voxel.
    """
    array, properties = read_array(path, dataset_json)
    if len(array) != 1:
        raise InputError(f"{path}: {len(array)} values a voxel; a channel's file has one.")
    shape, spacing = array.shape[1:], _spacing(properties)
    if _is_plane(shape, spacing):
        shape, spacing = shape[1:], spacing[1:]
    return Grid(shape, spacing, _affine(properties))


def read_label_image(path: Path, dataset_json: Mapping[str, Any]) -> LabelImage:
    """Read a label image as nnU-Net reads it.

    Raises:
        InputError: The file is missing, unreadable, truncated, or holds values that are not whole numbers of 0
            to 65535.
    """
    array, properties = read_array(path, dataset_json)
    labels = array[0]
    whole = np.isfinite(labels).all() and (labels == np.rint(labels)).all() and labels.min(initial=0) >= 0
    if not whole:
        raise InputError(f"{path}: not a label image, its values are not all whole numbers of at least 0.")
    largest = labels.max(initial=0)
    if largest > LARGEST_LABEL:
        raise InputError(f"{path}: label value {largest:g} is above {LARGEST_LABEL}, the largest that nnU-Net writes.")
    labels = labels.astype(np.uint8 if largest < 256 else np.uint16)
    spacing = _spacing(properties)
    if _is_plane(labels.shape, spacing):
        labels, spacing = labels[0], spacing[1:]
    return LabelImage(labels, spacing, _affine(properties))


def read_array(path: Path, dataset_json: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Image as ``(C, Z, Y, X)`` float32 array and nnU-Net's properties, by the reader nnU-Net takes for the data set.

    As nnU-Net does, other readers of the same file type are tried where the first fails, because SimpleITK refuses
    NIfTI files whose axes are not exactly orthogonal.

    Raises:
        InputError: The file is missing, unreadable or truncated.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    check_complete(path)
    reason = ""
    for reader in image_readers(dataset_json):
        try:
            return reader().read_images((str(path),))
        except Exception as error:  # each reader has its own exceptions
            reason = reason or next(iter(str(error).strip().splitlines()), type(error).__name__)
    raise InputError(f"{path}: cannot be read ({reason}).")


def check_complete(path: Path) -> int:
    """Check that a gzip file is complete: SimpleITK reads a truncated ``.nii.gz`` without complaint, as zeros.

    Returns:
        Size of the file in bytes, uncompressed.

    Raises:
        InputError: The file is missing or unreadable, or it is truncated, damaged, or no gzip file although its name
            ends in ``.gz``.
    """
    try:
        if path.suffix != ".gz":
            return path.stat().st_size
        with gzip.open(path) as stream:
            return sum(len(block) for block in iter(lambda: stream.read(1 << 22), b""))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged ({error}).") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


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


def _spacing(properties: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in properties["spacing"])


def _is_plane(shape: tuple[int, ...], spacing: tuple[float, ...]) -> bool:
    """nnU-Net's mark for a two-dimensional image: one slice, 999 times as thick as a pixel is wide."""
    return shape[0] == 1 and spacing[0] >= 998 * max(spacing[1:])


def _affine(properties: Mapping[str, Any]) -> np.ndarray | None:
    if "sitk_stuff" in properties:
        geometry = properties["sitk_stuff"]
        dimension = len(geometry["spacing"])
        affine = np.eye(dimension + 1)
        affine[:-1, :-1] = np.reshape(geometry["direction"], (dimension, dimension)) * geometry["spacing"]
        affine[:-1, -1] = geometry["origin"]
        return affine
    if "nibabel_stuff" in properties:
        # nibabel's mm are right-anterior-superior
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ properties["nibabel_stuff"]["original_affine"]
    return None


def _rounded(spacing: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in spacing)
