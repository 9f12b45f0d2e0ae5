"""JSON files of a user: dataset.json, plans, fingerprints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError


def read_json_object(file: Path, objects: Sequence[str] = ()) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Args:
        file: The file.
        objects: Keys whose values must be objects, too.

    Raises:
        InputError: It does not exist, is cut off or no JSON, or has not this shape.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{file} is no JSON, perhaps it was cut off: {error}. Write it again.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds a JSON {type(content).__name__} where nnU-Net has an object, {{...}}.")
    if missing := [key for key in objects if not isinstance(content.get(key), dict)]:
        raise InputError(f"{file} has no {' and no '.join(missing)}. Write it again.")
    return content
