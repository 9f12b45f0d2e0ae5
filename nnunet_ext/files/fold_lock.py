"""The lock of a fold's folder: one process at a time trains or validates there."""

import os
from contextlib import suppress
from pathlib import Path

from nnunet_ext.errors import UserError
from nnunet_ext.files.locks import try_lock

LOCK = "training.lock"


class TrainingError(UserError):
    """A fold cannot be trained now."""


def lock_fold(folder: Path) -> str | None:
    """Make sure that this process alone works in a fold's folder, until it ends and the command that it turns into.

    A process for one of several GPUs may work under the lock of the command that started it.

    Args:
        folder: Fold's folder in nnUNet_results; it must exist.

    Returns:
        A line for the log where the file system has no locks, else None.

    Raises:
        TrainingError: Another process trains or validates this fold.
    """
    file = folder / LOCK
    try:
        descriptor = try_lock(file)
    except OSError as error:
        return f"No lock for {folder} ({error}): make sure that nothing else trains there."
    if descriptor is not None:
        with suppress(OSError):  # a full disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return None
    if file.read_text().strip() == str(os.getppid()):
        return None
    raise TrainingError(
        f"Another process trains in {folder}, perhaps a job that an interrupted workflow left behind. "
        "Wait until it ends, or end it, and run the command again."
    )
