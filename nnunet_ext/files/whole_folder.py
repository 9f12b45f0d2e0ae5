"""A folder that appears under its name only when everything in it has been written."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Gives a hidden folder beside `folder` to write to, and renames it to `folder` when the block ends without error.

    After an error, or when the process is killed, `folder` does not exist; what an interrupted run left in the hidden
    folder is removed by the next.

    Args:
        folder: Where the finished folder will be. It may exist if it is empty.

    Raises:
        FileExistsError: `folder` is a file, or a folder that holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists already. Delete it or choose another folder.")
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
