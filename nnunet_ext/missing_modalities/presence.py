"""What each case of a completed folder had, as ``modalities.json`` says."""

import json
from pathlib import Path

from nnunet_ext.errors import InputError

PRESENCE_FILE = "modalities.json"


def read_presence(folder: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Channel names, and case -> names of the channels that it had.

    Args:
        folder: Folder that ``nnunet_ext complete`` has written.

    Raises:
        InputError: It has not.
    """
    file = folder / PRESENCE_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return list(content["channels"]), {case: list(names) for case, names in content["cases"].items()}
    except OSError:
        raise InputError(f"{file} is not there: `nnunet_ext complete` writes it into the folder it makes.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not written by `nnunet_ext complete` ({error}).") from None
