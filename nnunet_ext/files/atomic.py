"""Files and folders that are whole or not there, however the writing ends.

Everything is written in a folder of its own, which nobody else can write to, beside the place where it belongs, and
renamed when it is complete. Its name starts with a dot and is new every time, so that commands that write the same
file at once do not meet, and links that somebody planted are not followed.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nnunet_ext.errors import InputError

PREFIX = ".nnunet_ext_incomplete_"
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Path to write to instead of ``path``; it takes the place of ``path`` when the block ends without an error.

    Args:
        path: Final path; its folder must exist. The path to write to has the same name, because image writers choose
            the format by it.

    Raises:
        InputError: It cannot be written; the message says why.
    """
    with _incomplete(path.parent, path) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 text file that is complete or not there.

    Raises:
        InputError: It cannot be written; the message says why.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Folder to write files to, which appear together in ``folder`` when the block ends without an error.

    Args:
        folder: Where the files will be, beside those that it has; those of the same name are replaced. Made where it
            does not exist.

    Raises:
        InputError: They cannot be written; the message says why.
    """
    with _incomplete(folder, folder, make_parent=True) as new:
        yield new
        files = sorted(path.relative_to(new) for path in new.rglob("*") if not path.is_dir())
        if taken := [folder / file for file in files if (folder / file).is_dir()]:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(taken[0]))
        for file in files:
            check_no_link(folder, file.parent)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            (new / file).replace(folder / file)


def check_no_link(folder: Path, inner: Path) -> None:
    """Check that nothing on the way to a folder inside another is a link, through which files would land elsewhere.

    Args:
        folder: Folder that the user named, which may be a link, as folders on large disks often are.
        inner: Path from there.

    Raises:
        InputError: Something is.
    """
    for number in range(len(inner.parts)):
        place = Path(folder, *inner.parts[: number + 1])
        if place.is_symlink():
            raise InputError(f"{place} is a link, through which nothing is written. Delete it.")


def check_free(folder: Path) -> None:
    """Check that a folder can be written as a whole: that nothing has its name but an empty folder.

    Raises:
        InputError: It is a file, a link, or a folder that holds something.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InputError(f"{folder} exists already. Delete it or choose another folder.")


def check_writable(folder: Path, room: int = 0) -> None:
    """Check that files can be written to a folder, or that it can be made, before work is spent on them.

    Args:
        folder: The folder.
        room: Bytes that its disk must have left.

    Raises:
        InputError: They cannot; the message says why.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with _incomplete(existing, folder) as new:
        if room:
            take_room(new / "room", room)


def take_room(file: Path, room: int) -> None:
    """Take bytes of a disk, so that it says whether there are as many; it knows of quotas, too.

    Args:
        file: File to take them with; it is left.
        room: Bytes. Where the system or the disk cannot say whether there are as many, nothing is raised.

    Raises:
        OSError: There are not.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with file.open("wb") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, room)
        except OSError as error:
            if error.errno in FULL:
                raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Folder to write to instead of ``folder``; it becomes ``folder`` when the block ends without an error.

    Args:
        folder: Where the finished folder will be. It may exist if it is empty.

    Raises:
        InputError: ``folder`` is a file, a link, or a folder that holds something, or it cannot be written.
    """
    check_free(folder)
    folder = folder.resolve()  # "." has no name
    with _incomplete(folder.parent, folder, make_parent=True) as outer:
        new = outer / folder.name
        new.mkdir()
        yield new
        new.replace(folder)


@contextmanager
def _incomplete(parent: Path, target: Path, make_parent: bool = False) -> Iterator[Path]:
    """New folder in ``parent``, removed at the end; errors of the operating system name ``target``."""
    folder: Path | None = None
    try:
        if make_parent:
            parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        folder, lock = _new_locked_folder(parent)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    except OSError as error:
        raise InputError(f"{final_path(target)} cannot be written: {_reason(error, parent, folder)}.") from error


def _new_locked_folder(parent: Path) -> tuple[Path, int]:
    """Folder that nobody else can write to, and a descriptor whose lock says that its command lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):  # another command removes it before it is locked
            lock = os.open(folder, os.O_RDONLY)
            if _try_lock(lock) is not False and folder.exists():
                return folder, lock
            os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    """Remove what killed commands left: folders that nobody holds locked. Without locks (NFS), they stay."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another command removes it, too, or it is another user's
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if _try_lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _try_lock(descriptor: int) -> bool | None:
    """Whether the lock could be taken; None where the file system has none.

    Not the lock of `nnunet_ext.files.locks`: that one does not keep threads of a process apart and locks no folders.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _reason(error: OSError, parent: Path, folder: Path | None) -> str:
    """What the operating system says, and of which file, unless that is a temporary one."""
    if error.errno in FULL:
        return f"the disk of {disk_of(parent)} is full ({error.strerror})"
    reason = error.strerror or str(error)
    if folder is None:
        return f"{reason}: {parent}"
    name = error.filename2 or error.filename
    return reason if name is None or str(name).startswith(str(folder)) else f"{reason}: {name}"


def final_path(path: Path) -> Path:
    """Where something will be that is written in a folder that is not complete yet; other paths as they are."""
    return Path(*(part for part in path.parts if not part.startswith(PREFIX)))


def disk_of(path: Path) -> Path:
    """Folder where the disk that holds an existing path is mounted."""
    path = path.resolve()
    while not path.is_mount():
        path = path.parent
    return path
