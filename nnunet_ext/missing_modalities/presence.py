"""What each case of a completed folder had, as ``modalities.json`` says."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import write_text_atomically

PRESENCE_FILE = "modalities.json"


def write_presence(folder: Path, channels: Sequence[str], cases: Mapping[str, Sequence[str]]) -> None:
    """Say what each case of a folder had.

    Args:
        folder: Folder of completed cases.
        channels: Names of all channels, in order.
        cases: Case -> names of the channels that it had.
    """
    content = {"channels": list(channels), "cases": {case: list(names) for case, names in cases.items()}}
    write_text_atomically(folder / PRESENCE_FILE, json.dumps(content, indent=4) + "\n")


def read_presence(folder: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Channel names, and case -> names of the channels that it had.

    Args:
        folder: Folder that ``nnunet_ext complete`` or ``convert brats --allow-missing`` has written.

    Raises:
        InputError: It has not.
    """
    file = folder / PRESENCE_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return list(content["channels"]), {case: list(names) for case, names in content["cases"].items()}
    except OSError:
        raise InputError(f"{file} is not there: `nnunet_ext complete` writes it beside the images.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not written by `nnunet_ext complete` ({error}).") from None
