"""Images that SimpleITK has written: on a full disk it cuts them off without a word."""

import gzip
import zlib
from pathlib import Path

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import take_room

ROOM = 1 << 26  # bytes; what was cut off may fit in by now, so more than that is asked for


def check_written(file: Path) -> None:
    """Read back an image that has just been written.

    Args:
        file: Where it was written to, before it gets its name.

    Raises:
        OSError: It is cut off because the disk is full.
        InputError: It is cut off for a reason that the operating system does not know.
    """
    import SimpleITK

    try:
        if file.suffix == ".gz":  # SimpleITK reads what is cut off as zeros
            with gzip.open(file) as stream:
                while stream.read(1 << 22):
                    pass
        SimpleITK.ReadImage(str(file))
    except (OSError, EOFError, zlib.error, RuntimeError) as error:
        take_room(file.with_name("room"), ROOM)
        raise InputError(
            f"{file.name} was cut off while being written ({str(error).strip().splitlines()[-1]})."
        ) from error
