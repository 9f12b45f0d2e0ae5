"""nnU-Net's checkpoints: their names, reading them without running code, writing them whole, finding damage.

PyTorch is imported where it is needed, as commands that need the names alone must not wait for it.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_path

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"
CHECKPOINTS = (FINAL, LATEST, BEST)  # in the order in which nnU-Net's --c looks for them
NEEDED_TO_PREDICT = ("network_weights", "init_args", "trainer_name")
NEEDED_TO_CONTINUE = (*NEEDED_TO_PREDICT, "optimizer_state", "logging", "current_epoch")
NUMBERS = ("bool", "int32", "int64", "float16", "float32", "float64")  # NumPy's, of nnU-Net's log and best score


class UnreadableCheckpointError(InputError):
    """A checkpoint that is damaged, or no checkpoint of nnU-Net."""


def read_checkpoint(file: Path, needed: Sequence[str] = NEEDED_TO_PREDICT, *, weights: bool = True) -> dict[str, Any]:
    """Content of a checkpoint; nothing in it can run code.

    Beside what PyTorch takes for harmless, the numbers are allowed that nnU-Net puts into its checkpoints.

    Args:
        file: A checkpoint that nnU-Net wrote, or a copy.
        needed: What it must hold.
        weights: Whether the weights are needed. They are in memory then, and their checksums have been compared; else
            they stay in the file.

    Raises:
        UnreadableCheckpointError: The file is missing, damaged, no checkpoint, or wants to use anything else.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    if problem := damage(file, weights):
        raise UnreadableCheckpointError(f"{file}: {problem}.")
    try:
        with safe_globals(_allowed()):
            unknown = get_unsafe_globals_in_checkpoint(str(file))
            if not unknown:
                content = torch.load(file, map_location="cpu", weights_only=True, mmap=not weights)
    except Exception as error:  # PyTorch raises errors of many types
        raise UnreadableCheckpointError(f"{file}: cannot be read ({type(error).__name__}: {error}).") from error
    if unknown:
        raise UnreadableCheckpointError(
            f"{file}: wants to use {', '.join(sorted(unknown))}, which no checkpoint of nnU-Net does. It is not read, "
            "because it could run any program."
        )
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        # a stripped model's user needs the model that it was copied from
        unless = " unless it was stripped" if isinstance(content, dict) and "network_weights" in content else ""
        raise UnreadableCheckpointError(
            f"{file}: has no {', '.join(missing)}, as a checkpoint of nnU-Net v2 has{unless}."
        )
    return content


def configuration_of(checkpoint: Mapping[str, Any], file: Path) -> str:
    """Name of the configuration that a checkpoint was trained with.

    Raises:
        UnreadableCheckpointError: The checkpoint does not say it; the message names ``file``.
    """
    try:
        return str(checkpoint["init_args"]["configuration"])
    except (KeyError, TypeError):
        raise UnreadableCheckpointError(f"{file}: does not say its configuration.") from None


def damage(file: Path, weights: bool = True) -> str | None:
    """What is wrong with a checkpoint's archive; None where it is whole and its content has the checksums it should.

    Args:
        file: A checkpoint.
        weights: Whether the weights are compared with their checksums, too; that reads the whole file.
    """
    try:
        # torch writes a zip archive, whose directory comes last: a file that was cut off has none
        with file.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                return "was cut off while being written, or is no checkpoint of nnU-Net v2"
            with zipfile.ZipFile(stream) as archive:
                for record in archive.infolist():
                    if weights or "/data/" not in record.filename:
                        with archive.open(record) as content:
                            while content.read(1 << 22):
                                pass
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except Exception as error:  # zipfile raises errors of many types, depending on which byte is damaged
        return f"is damaged ({error})"
    return None


def read_to_continue(file: Path) -> dict[str, Any]:
    """Content of a checkpoint that a training continues from; the weights, whose checksums are right, stay in the file.

    Raises:
        UnreadableCheckpointError: As :func:`read_checkpoint`, or it was stripped; the message names a checkpoint of the
            folder that can be used instead.
    """
    try:
        return _read_whole(file)
    except UnreadableCheckpointError as error:
        others = [other for name in CHECKPOINTS if (other := file.with_name(name)) != file]
        usable = [other.name for other in others if _is_usable(other)]
        advice = (
            f"Use {usable[0]} instead: rename {file.name}, then run the command with --c again."
            if usable
            else "No other checkpoint in this folder can be used: train again without --c."
        )
        raise UnreadableCheckpointError(f"{error} {advice}") from error


def _is_usable(file: Path) -> bool:
    try:
        _read_whole(file)
    except UnreadableCheckpointError:
        return False
    return True


def _read_whole(file: Path) -> dict[str, Any]:
    if problem := damage(file):
        raise UnreadableCheckpointError(f"{file}: {problem}.")
    return read_checkpoint(file, NEEDED_TO_CONTINUE, weights=False)


@contextmanager
def atomic_checkpoint(file: Path) -> Iterator[Path]:
    """Path for ``torch.save`` to write to instead of ``file``, as of :func:`nnunet_ext.files.atomic.atomic_path`.

    Raises:
        InputError: The disk is full, or the file cannot be written for another reason of the operating system.
    """
    with atomic_path(file) as temporary:
        try:
            yield temporary
        except RuntimeError:
            # torch.save calls a full disk an unexpected position in the file; the operating system says what it is
            with temporary.with_name("space").open("wb") as stream:
                stream.write(bytes(1 << 26))
            raise


def _allowed() -> list[Any]:
    """What nnU-Net's checkpoints hold beside what PyTorch allows: numbers of NumPy, as NumPy 1 and 2 name them."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*names, np.dtype, *(type(np.dtype(name)) for name in NUMBERS)]
