"""JSON files that nnU-Net writes: plans, ``dataset.json``, summaries."""

import json
from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError


def read_json_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises:
        InputError: The file is missing, cannot be read, was cut off, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON, perhaps cut off ({error}).") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not what nnU-Net writes.")
    return content
