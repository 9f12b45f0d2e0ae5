"""What a ``postprocessing.pkl`` does, read without running it."""

from pathlib import Path
from typing import Any, NamedTuple

from nnunet_ext.errors import InputError
from nnunet_ext.files.restricted_pickle import Name, read_pickle

KNOWN = (
    Name("nnunet_ext.postprocessing.small_components", "remove_small_components"),
    Name("nnunet_ext.postprocessing.small_regions", "replace_small_region"),
    Name("nnunetv2.postprocessing.remove_connected_components", "remove_all_but_largest_component_from_segmentation"),
)


class Step(NamedTuple):
    """A function that a file applies to a segmentation.

    Attributes:
        function: Its name.
        arguments: Its keyword arguments.
    """

    function: Name
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(f'{key}={value!r}' for key, value in self.arguments.items())})"


def read_postprocessing(file: Path) -> list[Step]:
    """Steps of a ``postprocessing.pkl``, in the order in which ``nnUNetv2_apply_postprocessing`` applies them.

    That command itself unpickles the file, which can run any program; this can not.

    Args:
        file: A file of nnU-Net's or of ``nnunet_ext postprocess determine``.

    Raises:
        InputError: It is none, or names functions other than nnU-Net's and this package's.
    """
    content = read_pickle(file, KNOWN)
    try:
        functions, arguments = content
        steps = [Step(function, keywords) for function, keywords in zip(functions, arguments, strict=True)]
    except (TypeError, ValueError):
        raise InputError(f"{file}: not a postprocessing.pkl, which holds functions and their arguments.") from None
    if not all(isinstance(step.function, Name) and isinstance(step.arguments, dict) for step in steps):
        raise InputError(f"{file}: not a postprocessing.pkl, which holds functions and their arguments.")
    return steps
