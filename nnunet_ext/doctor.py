"""Checks that nnU-Net can find and run the trainers of this package, each with what to type when it fails."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nnunet_ext.host.version import needed_version
from nnunet_ext.shells import how_to_set, shell_of
from nnunet_ext.trainer_search import (
    VARIABLE,
    Obstacle,
    find_obstacles,
    is_own,
    mended_search_path,
    named_folders,
    plugin_folder,
)
from nnunet_ext.version import version_text

NNUNET_FOLDERS = {
    "nnUNet_raw": "raw data sets",
    "nnUNet_preprocessed": "plans and preprocessed data",
    "nnUNet_results": "trained models",
}


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: What was checked.
        passed: Whether it is as it must be.
        detail: What was found.
        remedy: What to type when it is not, a line each.
    """

    name: str
    passed: bool
    detail: str
    remedy: tuple[str, ...] = ()


def run_checks(environment: Mapping[str, str]) -> Iterator[Check]:
    """All checks, in the order in which their remedies make sense."""
    yield Check("nnunet_ext", True, f"version {version_text()}")
    yield _check_nnunet()
    yield _check_torch()
    yield from check_search_path(environment)
    yield from check_folders(environment)
    yield _check_gpu()


def _check_nnunet() -> Check:
    try:
        needed = needed_version()
    except PackageNotFoundError:
        return Check("nnunet_ext", False, "not installed, only on the path", ("pip install FOLDER_OF_ITS_SETUP_CFG",))
    remedy = (f'pip install "{needed}"',)
    try:
        found = version(needed.name)
    except PackageNotFoundError:
        return Check(needed.name, False, "not installed", remedy)
    if not needed.specifier.contains(found, prereleases=True):
        return Check(needed.name, False, f"version {found}; {needed.specifier} is needed", remedy)
    return Check(needed.name, True, f"version {found}")


def _check_torch() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("torch", False, str(error), ("pip install torch",))
    return Check("torch", True, f"version {torch.__version__}")


def check_search_path(environment: Mapping[str, str]) -> Iterator[Check]:
    """Whether nnUNet_extTrainer names the plugin folder, and whether nnU-Net finds the trainers."""
    value = environment.get(VARIABLE)
    remedy = how_to_set(VARIABLE, mended_search_path(environment), environment)
    if not value:
        yield Check(VARIABLE, False, "not set", remedy)
        return
    folders = named_folders(environment)
    problems = [problem for folder in folders if (problem := _no_folder(folder))]
    if problems:
        # nnU-Net skips them without a word
        yield Check(f"folders in {VARIABLE}", False, "; ".join(problems), remedy)
    if not any(is_own(folder) for folder in folders):
        yield Check(VARIABLE, False, f"does not name {plugin_folder()}", remedy)
        return
    yield Check(VARIABLE, True, value)
    yield from _check_trainers(environment)


def _check_trainers(environment: Mapping[str, str]) -> Iterator[Check]:
    try:
        from nnunet_ext.trainers import TRAINERS

        obstacles = find_obstacles(named_folders(environment))
    except ImportError as error:
        yield Check("trainers", False, f"cannot be imported: {error}", ("pip install --force-reinstall nnunet_ext",))
        return
    for obstacle in obstacles:
        missing = "its trainers" if len(obstacle.trainers) == len(TRAINERS) else ", ".join(obstacle.trainers)
        yield Check(
            "trainers", False, f"nnU-Net does not find {missing}: {obstacle.reason}", _way(obstacle, environment)
        )
    if not obstacles:
        yield Check("trainers", True, f"nnU-Net finds all {len(TRAINERS)}")


def _way(obstacle: Obstacle, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What to type against what stands in nnU-Net's way."""
    module = obstacle.module
    if module is None or is_own(str(module.parent)):
        return ("pip install --force-reinstall nnunet_ext",)
    if not any(Path(folder).resolve() in module.resolve().parents for folder in named_folders(environment)):
        return (f"mend it or move it away: nnU-Net looks there before it looks into {VARIABLE}",)
    first = mended_search_path(environment, own_first=True)
    return (
        "mend it, move it away, or let nnU-Net look into this package's folder before it:",
        *how_to_set(VARIABLE, first, environment),
    )


def check_folders(environment: Mapping[str, str]) -> Iterator[Check]:
    """Whether nnU-Net's three folders are there, can be written, and are three."""
    users: dict[str, list[str]] = {}
    for variable, purpose in NNUNET_FOLDERS.items():
        value = environment.get(variable)
        if not value:
            yield Check(variable, False, f"not set ({purpose})", _choose_another(variable, environment))
            continue
        yield _check_folder(variable, value, environment)
        users.setdefault(os.path.realpath(value), []).append(variable)
    for folder, variables in users.items():
        if len(variables) > 1:
            remedy = [line for variable in variables[1:] for line in _choose_another(variable, environment)]
            yield Check(" and ".join(variables), False, f"are the same folder, {folder}", tuple(remedy))


def _check_folder(variable: str, value: str, environment: Mapping[str, str]) -> Check:
    """Whether a folder is there and can be written, with a remedy that can work."""
    another = _choose_another(variable, environment)
    path = Path(value)
    quote = shell_of(environment).quote
    if path.is_dir():
        if os.access(path, os.W_OK | os.X_OK):
            return Check(variable, True, value)
        mine = path.stat().st_uid == os.getuid()
        return Check(
            variable, False, f"{value} cannot be written", (f"chmod u+rwx {quote(value)}",) if mine else another
        )
    if value.startswith("~") and (home := os.path.expanduser(value)) != value:
        # a shell replaces it only outside quotes
        make = () if os.path.isdir(home) else (f"mkdir -p {quote(home)}",)
        return Check(variable, False, str(_no_folder(value)), (*make, *how_to_set(variable, home, environment)))
    if path.is_file():
        return Check(variable, False, f"{value} is a file", another)
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if path.is_symlink() or not above.is_dir():
        wrong = path if path.is_symlink() else above
        return Check(variable, False, f"{value} cannot be made: {wrong} is no folder", another)
    if not os.access(above, os.W_OK | os.X_OK):
        return Check(variable, False, f"{value} does not exist, and {above} cannot be written", another)
    return Check(variable, False, f"{value} does not exist", (f"mkdir -p {quote(value)}",))


def _choose_another(variable: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    return how_to_set(variable, f"/path/to/{variable}", environment)


def _no_folder(folder: str) -> str | None:
    """Why an entry is no folder; None if it is one."""
    if os.path.isdir(folder):
        return None
    if os.path.exists(folder):
        return f"{folder} is a file"
    if folder.startswith("~") and os.path.isdir(os.path.expanduser(folder)):
        return f"{folder} has a '~' that no shell has replaced"
    return f"{folder} does not exist"


def _check_gpu() -> Check:
    try:
        import torch
    except ImportError:
        return Check("GPU", False, "torch is missing", ("pip install torch",))
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("GPU", True, f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        return Check("GPU", True, "Apple GPU; add -device mps to nnU-Net's commands")
    # not a failure: everything runs on the CPU as well
    return Check("GPU", True, "none; add -device cpu to nnU-Net's commands (slow)")
