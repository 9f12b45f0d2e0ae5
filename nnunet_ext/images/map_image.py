"""Maps of numbers as NIfTI files on the grid of a label image."""

import zlib
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_path
from nnunet_ext.images.grid import Grid, grid_difference

IN_SCANNER = 1  # NIfTI's code for coordinates of the scanner, the one that SimpleITK writes
TO_RIGHT_ANTERIOR = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI's mm against a grid's


def write_map(path: Path, values: np.ndarray, grid: Grid) -> None:
    """Write a map; viewers lay it over the image that the grid is of.

    nibabel writes it, since SimpleITK refuses grids whose axes are not exactly orthogonal.

    Args:
        path: ``.nii.gz`` file.
        values: ``(Z, Y, X)``, or ``(Y, X)`` for an image of one slice.
        grid: Of the label image; formats without a place in space get one that begins at 0.

    Raises:
        InputError: It cannot be written.
    """
    affine = TO_RIGHT_ANTERIOR @ _affine(grid)
    image = nibabel.Nifti1Image(values.reshape((1,) * (3 - len(grid.shape)) + grid.shape).T, affine)
    image.set_qform(affine, IN_SCANNER)
    image.set_sform(affine, IN_SCANNER)
    with atomic_path(path) as temporary:
        image.to_filename(temporary)


def read_map(path: Path, grid: Grid) -> np.ndarray:
    """Read a map that :func:`write_map` wrote, ``(Z, Y, X)`` or ``(Y, X)``.

    Args:
        path: The file.
        grid: Where it must lie.

    Raises:
        InputError: It is missing, unreadable, or on another grid.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        image = nibabel.load(path)
        values = np.asanyarray(image.dataobj).T
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    spacing = tuple(float(step) for step in image.header.get_zooms()[::-1])
    expected = Grid((1,) * (3 - len(grid.shape)) + grid.shape, (spacing[0],) * (3 - len(grid.shape)) + grid.spacing,
                    _affine(grid))  # fmt: skip
    if difference := grid_difference(Grid(values.shape, spacing, TO_RIGHT_ANTERIOR @ image.affine), expected):
        raise InputError(f"{path}: {difference} as in the label image of the case.")
    return values.reshape(grid.shape)


def _affine(grid: Grid) -> np.ndarray:
    """Affine of a volume, ``(4, 4)``, left-posterior-superior."""
    affine = np.eye(4)
    dimension = len(grid.shape)
    if grid.affine is None:
        affine[:dimension, :dimension] = np.diag(grid.spacing[::-1])
    else:
        axes = [*range(len(grid.affine) - 1), 3]
        affine[np.ix_(axes, axes)] = grid.affine
    return affine
