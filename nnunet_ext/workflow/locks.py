"""Locks that end with the process that holds them, however it ends."""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Take a lock without waiting.

    A command that this process turns into (``os.exec*``) keeps the lock, and a killed one loses it.

    Args:
        path: Lock file; it is created, and stays when the lock is given back.

    Returns:
        Open file descriptor; closing it gives the lock back. None when another process has the lock.

    Raises:
        OSError: The file system has no locks, or the file cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    os.set_inheritable(descriptor, True)
    return descriptor
