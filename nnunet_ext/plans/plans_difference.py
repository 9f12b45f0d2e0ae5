"""What two plans say differently."""

from collections.abc import Mapping
from typing import Any

from nnunet_ext.plans.settings import PLANS_KEY, WRITTEN_BY

LONGEST_VALUE = 60  # characters


def plans_difference(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs, such as ``"configurations.2d.batch_size (2 there, 13 here)"``; who wrote them does not count.

    Args:
        there: Plans, or a part of them, as JSON gives them.
        here: What they are compared with.
        name: Name of that part.
    """
    if name == f"{PLANS_KEY}.{WRITTEN_BY}":
        return []
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            difference
            for key in dict.fromkeys([*there, *here])
            for difference in plans_difference(
                there.get(key, _MISSING), here.get(key, _MISSING), f"{name}.{key}" if name else str(key)
            )
        ]
    # True is 1 in Python
    if there == here and isinstance(there, bool) == isinstance(here, bool):
        return []
    return [f"{name} ({_short(there)} there, {_short(here)} here)"]


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


_MISSING = _Missing()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def listed(differences: list[str], most: int = 5) -> str:
    """Differences as a part of a sentence."""
    more = f" and {len(differences) - most} more" if len(differences) > most else ""
    return ", ".join(differences[:most]) + more
