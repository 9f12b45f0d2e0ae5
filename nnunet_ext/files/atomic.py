"""Writing files so that an interrupted command leaves either the old file or the complete new one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Path to write to instead of ``path``; it takes the place of ``path`` when the block ends without an error.

    The temporary name keeps the ending of ``path``, because image writers choose the format by it.

    Args:
        path: Final path; its folder must exist.
    """
    temporary = path.with_name(f".incomplete_{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 text file that is complete or not there."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
