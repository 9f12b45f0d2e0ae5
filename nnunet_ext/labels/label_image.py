"""Reading label images with nnU-Net's own readers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.images.grid import Grid
from nnunet_ext.images.reader import read_image, stored_values

LARGEST_LABEL = 65535  # nnU-Net writes labels as 8- or 16-bit integers without sign


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


def read_label_image(path: Path, dataset_json: Mapping[str, Any]) -> LabelImage:
    """Read a label image as nnU-Net reads it.

    Raises:
        InputError: The file is missing, unreadable, truncated, or holds values that are not whole numbers of 0
            to 65535.
    """
    image = read_image(path, dataset_json)
    labels = image.array[0]
    finite = np.isfinite(stored_values(path, labels)).all()
    whole = finite and (labels == np.rint(labels)).all() and labels.min(initial=0) >= 0
    if not whole:
        raise InputError(f"{path}: not a label image, its values are not all whole numbers of at least 0.")
    largest = labels.max(initial=0)
    if largest > LARGEST_LABEL:
        raise InputError(f"{path}: label value {largest:g} is above {LARGEST_LABEL}, the largest that nnU-Net writes.")
    labels = labels.astype(np.uint8 if largest < 256 else np.uint16)
    grid = image.grid
    return LabelImage(labels.reshape(grid.shape), grid.spacing, grid.affine)
