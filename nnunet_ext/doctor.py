"""Checks that nnU-Net can find and run the trainers of this package, each with what to type when it fails."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MINIMUM_NNUNET = (2, 8, 1)
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


def plugin_folder() -> Path:
    """Folder that nnUNet_extTrainer must name."""
    return Path(__file__).parent / "plugin"


def extended_search_path(environment: Mapping[str, str]) -> str:
    """Value for nnUNet_extTrainer: the folders that it names already, and the plugin folder."""
    folders = [folder for folder in environment.get("nnUNet_extTrainer", "").split(os.pathsep) if folder.strip()]
    own = str(plugin_folder())
    return os.pathsep.join([*[folder for folder in folders if not _same(folder, own)], own])


def run_checks(environment: Mapping[str, str]) -> Iterator[Check]:
    """All checks, in the order in which their remedies make sense."""
    yield _check_nnunet()
    yield _check_torch()
    yield from _check_search_path(environment)
    yield from _check_folders(environment)
    yield _check_gpu()


def how_to_set(variable: str, value: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Lines that set an environment variable, now and for good, for the shell and environment at hand.

    Args:
        variable: Name of the variable.
        value: Its value.
        environment: Environment that tells which shell, virtual environment or cluster this is.
    """
    fish = Path(environment.get("SHELL", "")).name == "fish"
    export = f"export {variable}={_quoted(value)}"
    now = f"set -gx {variable} {_quoted(value)}" if fish else export
    lines = [f"now, in this shell:          {now}"]
    if "CONDA_PREFIX" in environment:
        name = environment.get("CONDA_DEFAULT_ENV", "base")
        setting = f"conda env config vars set {variable}={_quoted(value)} && conda activate {name}"
        lines.append(f"for good, conda environment: {setting}")
    elif "VIRTUAL_ENV" in environment:
        script = "activate.fish" if fish else "activate"
        file = Path(environment["VIRTUAL_ENV"], "bin", script)
        lines.append(f"for good, in the venv:       echo '{now}' >> {_quoted(str(file))}")
    elif fish:
        lines.append(f"for good:                    set -Ux {variable} {_quoted(value)}")
    else:
        startup = "~/.zshrc" if Path(environment.get("SHELL", "")).name == "zsh" else "~/.bashrc"
        lines.append(f"for good:                    echo '{export}' >> {startup}")
    if any(key.startswith("SLURM") for key in environment):
        lines.append(f"in the SLURM script:         {export}   (a line before nnUNetv2_train)")
    return tuple(lines)


def _check_nnunet() -> Check:
    name = "nnunetv2"
    remedy = ('pip install "nnunetv2>=2.8.1,<3"',)
    try:
        found = version("nnunetv2")
    except PackageNotFoundError:
        return Check(name, False, "not installed", remedy)
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:3])
    if not MINIMUM_NNUNET <= numbers < (3,):
        return Check(name, False, f"version {found}; 2.8.1 or later, but not 3, is needed", remedy)
    return Check(name, True, f"version {found}")


def _check_torch() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("torch", False, str(error), ("pip install torch",))
    return Check("torch", True, f"version {torch.__version__}")


def _check_search_path(environment: Mapping[str, str]) -> Iterator[Check]:
    variable = "nnUNet_extTrainer"
    value = environment.get(variable)
    remedy = how_to_set(variable, extended_search_path(environment), environment)
    if not value:
        yield Check(variable, False, "not set", remedy)
        return
    folders = [folder for folder in value.split(os.pathsep) if folder.strip()]
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    if missing:
        # nnU-Net skips them without a word
        yield Check(f"folders in {variable}", False, f"not a folder: {', '.join(missing)}", remedy)
    if not any(_same(folder, str(plugin_folder())) for folder in folders):
        yield Check(variable, False, f"does not name {plugin_folder()}", remedy)
        return
    yield Check(variable, True, value)
    yield from _check_trainers()


def _check_trainers() -> Iterator[Check]:
    try:
        from nnunet_ext.host.models import find_trainer
        from nnunet_ext.trainers import TRAINERS
    except ImportError as error:
        yield Check("trainers", False, f"cannot be imported: {error}", ("pip install --force-reinstall nnunet_ext",))
        return
    missing = []
    for trainer in TRAINERS:
        try:
            found = find_trainer(trainer.__name__) is trainer
        except Exception:
            found = False
        if not found:
            missing.append(trainer.__name__)
    if missing:
        remedy = ("check which module nnU-Net finds first: nnUNetv2_train DATASET 3d_fullres 0 -tr " + missing[0],)
        yield Check("trainers", False, f"nnU-Net does not find {', '.join(missing)}", remedy)
    else:
        yield Check("trainers", True, f"nnU-Net finds all {len(TRAINERS)}")


def _check_folders(environment: Mapping[str, str]) -> Iterator[Check]:
    for variable, purpose in NNUNET_FOLDERS.items():
        value = environment.get(variable)
        if not value:
            yield Check(
                variable, False, f"not set ({purpose})", how_to_set(variable, f"/path/to/{variable}", environment)
            )
        elif not Path(value).is_dir():
            yield Check(variable, False, f"{value} is not a folder", (f"mkdir -p {_quoted(value)}",))
        elif not os.access(value, os.W_OK):
            yield Check(variable, False, f"{value} cannot be written", (f"chmod u+w {_quoted(value)}",))
        else:
            yield Check(variable, True, value)


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


def _same(folder: str, other: str) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


def _quoted(text: str) -> str:
    return f'"{text}"'
