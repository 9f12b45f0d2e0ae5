"""How nnU-Net's search for this package's trainers ends, and the module that stands in its way."""

import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

VARIABLE = "nnUNet_extTrainer"


class Obstacle(NamedTuple):
    """Why nnU-Net does not find trainers.

    Attributes:
        reason: What is wrong, with the module.
        module: Somebody's module that is in the way, or None where there is none.
        trainers: Names of the trainers that are not found because of it.
    """

    reason: str
    module: Path | None
    trainers: tuple[str, ...]


def plugin_folder() -> Path:
    """Folder that nnUNet_extTrainer must name."""
    return Path(__file__).parent / "plugin"


def named_folders(environment: Mapping[str, str]) -> list[str]:
    """Folders that nnUNet_extTrainer names, in the order in which nnU-Net looks into them."""
    return [folder for folder in environment.get(VARIABLE, "").split(os.pathsep) if folder.strip()]


def extended_search_path(environment: Mapping[str, str]) -> str:
    """Value for nnUNet_extTrainer: the folders that it names already, and the plugin folder."""
    return _joined([*_without_own(named_folders(environment)), str(plugin_folder())])


def mended_search_path(environment: Mapping[str, str], own_first: bool = False) -> str:
    """The same without entries that are no folders; ``~``, which nnU-Net does not know, is replaced.

    Args:
        environment: Environment that may hold the variable.
        own_first: Whether the plugin folder comes first, so that no module of another folder is imported before it.
    """
    folders = [os.path.expanduser(folder) for folder in named_folders(environment)]
    others = _without_own([folder for folder in folders if os.path.isdir(folder)])
    own = str(plugin_folder())
    return _joined([own, *others] if own_first else [*others, own])


def is_own(folder: str) -> bool:
    """Whether this is the plugin folder, however it is spelt."""
    return os.path.realpath(folder) == os.path.realpath(plugin_folder())


def find_obstacles(folders: Sequence[str]) -> list[Obstacle]:
    """Let nnU-Net search every trainer of this package; empty if it finds them all.

    Args:
        folders: What nnUNet_extTrainer names.

    Raises:
        ImportError: nnU-Net or this package cannot be imported.
    """
    from nnunet_ext.host.models import search_trainer, trainers_folder
    from nnunet_ext.trainers import TRAINERS

    searched = [str(trainers_folder()), *folders]
    obstacles: dict[tuple[str, Path | None], list[str]] = {}
    for trainer in TRAINERS:
        search = search_trainer(trainer.__name__)
        if search.found is not trainer:
            module = None if search.module is None or is_own(str(search.module.parent)) else search.module
            obstacles.setdefault(_reason(search.error, module, searched), []).append(trainer.__name__)
    return [Obstacle(reason, module, tuple(names)) for (reason, module), names in obstacles.items()]


def _reason(error: Exception | None, found: Path | None, searched: Sequence[str]) -> tuple[str, Path | None]:
    """What is wrong, and whose module it is."""
    if found is not None:
        return f"{found} has something else of that name, which nnU-Net takes", found
    if error is None:
        return "its search ends without them, or at another one of its own", None
    if broken := _broken_module(error, searched):
        return f"{broken} cannot be imported ({type(error).__name__}: {error})", broken
    return f"{type(error).__name__}: {error}", None


def _broken_module(error: Exception, searched: Sequence[str]) -> Path | None:
    """First file below the searched folders that was being imported when the error arose."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(error.filename)
    roots = [Path(folder).resolve() for folder in searched]
    below = (Path(file) for file in files if any(root in Path(file).resolve().parents for root in roots))
    return next(below, None)


def _without_own(folders: Sequence[str]) -> list[str]:
    return [folder for folder in folders if not is_own(folder)]


def _joined(folders: Sequence[str]) -> str:
    return os.pathsep.join(folders)
