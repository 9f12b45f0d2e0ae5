"""What a fault left on the disk: files that are whole, cut off, or of a command that did not end; and small disks."""

import gzip
import hashlib
import json
import os
import pickle
import re
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_ext.files.atomic import PREFIX
from nnunet_ext.files.checkpoint import damage

ENDS = {".png": b"IEND\xaeB`\x82", ".html": b"</html>", ".pdf": b"%%EOF"}
_MINUTE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d(?=</p></footer>)")


def is_whole(file: Path) -> bool:
    """Whether a file is complete, by what its format says; others, such as logs, count as whole."""
    try:
        if file.suffix == ".pth":
            return damage(file) is None
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".gz":
            with gzip.open(file) as stream:
                return len(stream.read()) > 0
        elif file.suffix == ".npz":
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is None
        elif file.suffix == ".pkl":
            with file.open("rb") as stream:
                pickle.load(stream)
        elif file.suffix == ".b2nd":
            import blosc2

            blosc2.open(str(file))[:]
        elif file.suffix in (".csv", ".yaml", ".md"):
            return file.read_bytes().endswith(b"\n")
        elif file.suffix in ENDS:
            return file.read_bytes().rstrip().endswith(ENDS[file.suffix])
    except FileNotFoundError:
        return True  # renamed or removed in between
    except (OSError, ValueError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error):
        return False
    return True


def broken_files(folder: Path) -> list[str]:
    """Names, relative to a folder, of files that are not whole; those with a temporary name are not looked at."""
    files = (file for file in folder.rglob("*") if file.is_file() and not is_temporary(file))
    return sorted(str(file.relative_to(folder)) for file in files if not is_whole(file))


def temporary_folders(folder: Path) -> list[str]:
    """What a killed command has left of files that it had not finished."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(f"{PREFIX}*"))


def is_being_written(folder: Path) -> bool:
    """Whether a file of this folder is being written."""
    try:
        return any(name.startswith(PREFIX) for name in os.listdir(folder))
    except FileNotFoundError:
        return False


def is_temporary(path: Path) -> bool:
    """Whether a path belongs to a file that is not finished."""
    return any(part.startswith(PREFIX) for part in path.parts)


def digests(folder: Path) -> dict[str, str]:
    """Name, relative to a folder, and digest of every file; that of a report without the minute in its footer."""
    files = (file for file in folder.rglob("*") if file.is_file() and not is_temporary(file))
    return {
        str(file.relative_to(folder)): hashlib.sha256(_MINUTE.sub(b"", file.read_bytes())).hexdigest() for file in files
    }


def size_of(folder: Path) -> int:
    """Bytes that the files of a folder take on a disk of pages."""
    return sum(-(-path.lstat().st_size // 4096) * 4096 + 4096 for path in folder.rglob("*"))


def can_mount(folder: Path) -> bool:
    """Whether small disks and read-only folders can be made here, which takes root."""
    probe = folder / "probe"
    probe.mkdir(parents=True, exist_ok=True)
    try:
        with small_disk(probe, 1 << 20), read_only(probe):
            try:
                (probe / "file").touch()
            except OSError:
                return True
    except (OSError, subprocess.CalledProcessError):
        pass
    return False


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes is mounted on a folder while the block runs."""
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def resize(folder: Path, size: int) -> None:
    """Change the size of a small disk."""
    _run("mount", "-o", f"remount,size={max(size, 4096)}", str(folder))


def used_bytes(folder: Path) -> int:
    """Bytes that are taken on the disk of a folder."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written to a folder while the block runs, not by root either."""
    _run("mount", "--bind", str(folder), str(folder))
    try:
        _run("mount", "-o", "remount,ro,bind", str(folder))
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
