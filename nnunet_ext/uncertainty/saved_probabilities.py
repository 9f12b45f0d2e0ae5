"""The ``.npz`` files that ``nnUNetv2_predict --save_probabilities`` and ``nnUNetv2_train --npz`` write.

They hold one array, ``probabilities``, of shape ``(C, Z, Y, X)`` on the grid of the image's file: nnU-Net has taken
its crop and its order of axes back before it saves. They are read in pieces, so that several models of a case never
lie in memory together.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from nnunet_ext.errors import InputError

ENTRY = "probabilities.npy"
TOLERANCE = 1e-3  # by which rounding may miss [0, 1]


class Header(NamedTuple):
    """What is in a file.

    Attributes:
        shape: ``(C, Z, Y, X)``.
        dtype: Of the values.
        fortran_order: Whether the first axis is the fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool


def read_header(path: Path) -> Header:
    """Shape and type of the probabilities in a file, without their values.

    Raises:
        InputError: It is missing, truncated, or not a file of nnU-Net's.
    """
    with _opened(path) as stream:
        return _header(stream, path)


def slabs(path: Path, num_slices: int) -> Iterator[np.ndarray]:
    """Probabilities of a case in pieces: all pieces of the first channel, then those of the next.

    Args:
        path: The ``.npz`` file.
        num_slices: Slices along the first axis of the image in a piece; the last one of a channel may have fewer.

    Yields:
        ``(slices, Y, X)`` float32, values in [0, 1].

    Raises:
        InputError: The file is missing, truncated, not one of nnU-Net's, or holds what is no probability.
    """
    with _opened(path) as stream:
        shape, dtype, fortran_order = _header(stream, path)
        # NumPy writes so where there is one channel and the plans reverse all axes; such a file is read as a whole
        whole = _values(stream, shape[::-1], dtype, path).T if fortran_order else None
        for channel in range(shape[0]):
            for start in range(0, shape[1], num_slices):
                end = min(start + num_slices, shape[1])
                if whole is None:
                    piece = _values(stream, (end - start, *shape[2:]), dtype, path)
                else:
                    piece = whole[channel, start:end]
                yield _checked(piece, f"{path}: channel {channel}")


def read_probabilities(path: Path) -> np.ndarray:
    """Probabilities of a case, ``(C, Z, Y, X)`` float32.

    Raises:
        InputError: As :func:`slabs`.
    """
    shape = read_header(path).shape
    probabilities = np.empty(shape, np.float32)
    for channel, piece in zip(probabilities, slabs(path, shape[1]), strict=True):
        channel[:] = piece
    return probabilities


def _values(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, path: Path) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    content = stream.read(size)
    if len(content) < size:
        raise InputError(f"{path}: truncated. Predict the case again.")
    return np.frombuffer(content, dtype).reshape(shape)


def _checked(piece: np.ndarray, place: str) -> np.ndarray:
    if not np.isfinite(piece).all():
        raise InputError(f"{place} holds values that are not finite (nan or infinite). Predict the case again.")
    if piece.min(initial=0) < -TOLERANCE or piece.max(initial=0) > 1 + TOLERANCE:
        raise InputError(
            f"{place} holds values from {piece.min():.3g} to {piece.max():.3g}, which are no probabilities (logits?)."
        )
    return np.clip(piece.astype(np.float32), 0, 1)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(ENTRY) as stream:
            yield stream
    except KeyError:
        raise InputError(f"{path}: has no '{ENTRY.removesuffix('.npy')}', so nnU-Net did not write it.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}: truncated or damaged ({error}). Predict the case again.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


def _header(stream: IO[bytes], path: Path) -> Header:
    """Header of a NumPy file, which a compressed stream cannot leave to ``numpy.load`` without reading all values."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)
    except (ValueError, SyntaxError, struct.error) as error:
        raise InputError(f"{path}: not an array of NumPy's ({error}).") from None
    if len(shape) != 4 or dtype.kind != "f" or not all(shape):
        raise InputError(f"{path}: an array of shape {shape} and type {dtype}, expected numbers (C, Z, Y, X).")
    return Header(shape, dtype, fortran_order)
