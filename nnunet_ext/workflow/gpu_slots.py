"""GPUs of one machine, each given to one job at a time."""

import os
import stat
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nnunet_ext.errors import UserError
from nnunet_ext.files.locks import try_lock


def wait_for_gpus(
    devices: Sequence[int], number: int, folder: Path | None = None, seconds_between_tries: float = 1.0
) -> list[int]:
    """Wait until enough GPUs are free and take them; they are free again when this process ends.

    Args:
        devices: Numbers of the GPUs to choose from, as for CUDA_VISIBLE_DEVICES.
        number: How many are needed, 1 to the number of devices.
        folder: Folder of the lock files; None takes one for this user in the folder for temporary files, so that all
            workflows on this machine share the GPUs.
        seconds_between_tries: Pause after a try in which too few were free.

    Returns:
        The GPUs taken, in the order of ``devices``.

    Raises:
        UserError: More GPUs are needed than there are, or another user made the folder of the lock files.
    """
    if not 1 <= number <= len(devices):
        raise UserError(f"The job needs {number} GPUs, and `devices` has {len(devices)}: {list(devices)}.")
    if folder is None:
        folder = _folder_of_this_user()
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        taken: dict[int, int] = {}
        for device in devices:
            if len(taken) < number and (lock := try_lock(folder / f"gpu{device}.lock")) is not None:
                taken[device] = lock
        if len(taken) == number:
            return list(taken)
        # all or none: two jobs that each hold a part of what they need would wait for ever
        for lock in taken.values():
            os.close(lock)
        time.sleep(seconds_between_tries)


def _folder_of_this_user() -> Path:
    """Folder of the same name for all jobs of this user on this machine, where nobody else can have planted a link."""
    folder = Path(tempfile.gettempdir(), f"nnunet_ext_gpus_{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UserError(
            f"{folder} is not a folder of yours that nobody else can write to. Delete it, or set TMPDIR to another "
            "folder, the same for all workflows on this machine."
        )
    return folder
