"""Locks that end with the process that holds them, however it ends."""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Take a lock without waiting.

    It is a record lock: a command that this process turns into (``os.exec*``) keeps it, a killed one loses it, and
    workers that it forked and that outlive it do not hold it, as they would a lock of ``flock``.

    Args:
        path: Lock file; it is created, and stays when the lock is given back. One process takes it once.

    Returns:
        Open file descriptor; closing it gives the lock back. None when another process has the lock.

    Raises:
        OSError: The file system has no locks, the file cannot be written, or it is a link.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # which of the two depends on the system
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    os.set_inheritable(descriptor, True)
    return descriptor
