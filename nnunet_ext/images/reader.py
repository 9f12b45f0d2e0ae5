"""Reading images as nnU-Net reads them, after what its readers do not look at: is all of the file there, is it 3d."""

import gzip
import io
import math
import zlib
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
import SimpleITK

from nnunet_ext.errors import InputError
from nnunet_ext.host.data import image_readers
from nnunet_ext.images.grid import Grid, grid_of

NIFTI = (".nii", ".nii.gz")
OF_SIMPLEITK = (".nrrd", ".mha", ".gipl")
GIPL_HEADER = 256  # bytes; SimpleITK reads a truncated .gipl without complaint


class Image(NamedTuple):
    """An image as nnU-Net reads it.

    Attributes:
        array: Channels of the file, float32 ``(C, Z, Y, X)``; C is 1 but for colours of natural images.
        properties: What nnU-Net's reader returned beside it.
        reader: The class that read it.
    """

    array: np.ndarray
    properties: dict[str, Any]
    reader: type

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return grid_of(self.array.shape[1:], self.properties)


class _Header(NamedTuple):
    """What a header announces: axes in its own order, values a voxel, bytes of the whole file uncompressed."""

    shape: tuple[int, ...]
    values: int
    num_bytes: int


def read_image(path: Path, dataset_json: Mapping[str, Any]) -> Image:
    """Read an image with the reader that nnU-Net takes for the data set.

    Other readers of the same file type are tried where the first fails, because SimpleITK refuses NIfTI files whose
    axes are not exactly orthogonal; nnU-Net tries them on one training image only, and takes that reader for all.

    Args:
        path: File.
        dataset_json: Content of ``dataset.json``.

    Raises:
        InputError: The file is missing, unreadable or truncated, or holds more than one value a voxel of a volume.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    check_complete(path)
    reason = ""
    with redirect_stdout(io.StringIO()):  # readers print their errors, and some what they assume
        for reader in image_readers(dataset_json):
            try:
                array, properties = reader().read_images((str(path),))
                return Image(array, properties, reader)
            except Exception as error:  # each reader has its own exceptions
                reason = reason or _reason(error)
    raise InputError(f"{path}: cannot be read ({reason}).")


def read_array(path: Path, dataset_json: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Image as ``(C, Z, Y, X)`` float32 array and nnU-Net's properties, see :func:`read_image`.

    Raises:
        InputError: As :func:`read_image`.
    """
    return read_image(path, dataset_json)[:2]


def read_image_grid(path: Path, dataset_json: Mapping[str, Any]) -> Grid:
    """Read an image of one channel as nnU-Net reads it, and return its grid.

    Raises:
        InputError: As :func:`read_image`, or it is a picture in colours.
    """
    image = read_image(path, dataset_json)
    if len(image.array) != 1:
        raise InputError(f"{path}: {len(image.array)} values a voxel; a channel's file has one.")
    return image.grid


def stored_values(path: Path, array: np.ndarray) -> np.ndarray:
    """The values that a file holds where they are not those that nnU-Net's reader returns; else the latter.

    SimpleITK reads nan and infinite values of a NIfTI file as 0.

    Args:
        path: File.
        array: What the reader returned.

    Raises:
        InputError: The file is unreadable.
    """
    if not path.name.lower().endswith(NIFTI):
        return array
    try:
        image: Any = nibabel.load(path)
        return np.asanyarray(image.dataobj) if image.header.get_data_dtype().kind == "f" else array
    except Exception as error:  # nibabel has several of its own, the operating system adds others
        raise InputError(f"{path}: cannot be read ({_reason(error)}).") from None


def check_complete(path: Path) -> None:
    """Check that all of a file is there and that it is one volume.

    SimpleITK reads a truncated ``.nii.gz`` and a short one without complaint, as zeros, and nnU-Net takes the fourth
    axis of a file, or the colours of its voxels, for something else.

    Raises:
        InputError: The file is unreadable, truncated, damaged, no gzip file although its name ends in ``.gz``, or a
            medical image of more than three dimensions or of several values a voxel.
    """
    size = _uncompressed_size(path)
    header = _read_header(path)
    if header is None:
        return
    if len(header.shape) > 3:
        shape = " x ".join(map(str, header.shape))
        raise InputError(f"{path}: not 3-D but {len(header.shape)}-D ({shape}); nnU-Net takes one volume a file.")
    if header.values > 1:
        raise InputError(f"{path}: {header.values} values a voxel (colours or vectors); a channel's file has one.")
    if size < header.num_bytes:
        raise InputError(f"{path}: truncated, {size} bytes of {header.num_bytes}.")


def _uncompressed_size(path: Path) -> int:
    try:
        if path.suffix != ".gz":
            return path.stat().st_size
        with gzip.open(path) as stream:
            return sum(len(block) for block in iter(lambda: stream.read(1 << 22), b""))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged ({error}).") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


def _read_header(path: Path) -> _Header | None:
    """Header of a medical image; None for other formats, whose readers notice what is checked here."""
    try:
        if path.name.lower().endswith(NIFTI):
            return _nifti_header(path)
        if path.suffix.lower() in OF_SIMPLEITK:
            return _simpleitk_header(path)
    except Exception as error:  # nibabel has several of its own, SimpleITK and the operating system add others
        raise InputError(f"{path}: cannot be read ({_reason(error)}).") from None
    return None


def _nifti_header(path: Path) -> _Header:
    image: Any = nibabel.load(path)
    shape, dtype = image.shape, image.header.get_data_dtype()
    num_bytes = int(image.dataobj.offset) + math.prod(shape) * dtype.itemsize
    values = len(dtype.fields) if dtype.fields else 1
    if len(shape) == 5 and shape[3] == 1:  # NIfTI's form of vectors
        shape, values = shape[:3], shape[4]
    return _Header(shape, values, num_bytes)


def _simpleitk_header(path: Path) -> _Header:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    shape, values = reader.GetSize(), reader.GetNumberOfComponents()
    num_bytes = 0
    if path.suffix.lower() == ".gipl":
        voxel = SimpleITK.Image([1] * len(shape), reader.GetPixelID())
        num_bytes = GIPL_HEADER + math.prod(shape) * values * voxel.GetSizeOfPixelComponent()
    return _Header(shape, values, num_bytes)


def _reason(error: Exception) -> str:
    """The line of an error that says most: SimpleITK's first line is the place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "ITK ERROR" in line]
    return (telling or lines or [type(error).__name__])[0]
