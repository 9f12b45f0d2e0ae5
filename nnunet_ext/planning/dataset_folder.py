"""A data set's folder, found as the command line names it, and what nnU-Net keeps in it."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.host.planner import planners_by_plans_name
from nnunet_ext.planning.plans_name import DEFAULT_PLANS, check_plain
from nnunet_ext.plans.network_entry import PlansError


class DatasetError(PlansError):
    """A data set that is not there, or whose name cannot be used."""


def find_dataset(root: Path, dataset: str) -> Path:
    """Folder of a data set in one of nnU-Net's folders.

    Args:
        root: nnUNet_raw or nnUNet_preprocessed.
        dataset: Its number, or the name of its folder.

    Raises:
        DatasetError: There is none, there are several, or this is neither number nor name.
    """
    folders = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    if re.fullmatch("[0-9]+", dataset):
        found = [name for name in folders if name.startswith(f"Dataset{int(dataset):03d}_")]
        if len(found) > 1:
            raise DatasetError(f"{root} has several data sets {dataset}: {', '.join(found)}. Give the name of one.")
    elif re.match("Dataset[0-9]{3,}_.", dataset):
        found = [name for name in folders if name == dataset]
    else:
        meant = [name for name in folders if re.fullmatch(f"Dataset[0-9]+_{re.escape(dataset)}", name)]
        hint = f": {' or '.join(meant)}" if meant else ", such as 137 or Dataset137_BraTS"
        raise DatasetError(f"'{dataset}' is no data set. Give its number or the whole name of its folder{hint}.")
    if not found:
        raise DatasetError(f"Data set {dataset} was not found in {root}. It has {', '.join(folders) or 'none'}.")
    return root / found[0]


def preprocessed_folder(dataset: str) -> Path:
    """Folder of a data set's plans.

    Raises:
        DatasetError: nnUNet_preprocessed is not set, or it has no such data set.
    """
    root = os.environ.get("nnUNet_preprocessed")
    if not root:
        raise DatasetError("nnUNet_preprocessed is not set. Run: nnunet_ext doctor")
    try:
        return find_dataset(Path(root), dataset)
    except DatasetError as error:
        number = re.match("(?:Dataset)?([0-9]+)(?:_|$)", dataset)
        hint = f" Run: nnUNetv2_plan_and_preprocess -d {int(number[1])}" if number else ""
        raise DatasetError(f"{error}{hint}") from None


def read_plans(folder: Path, name: str) -> dict[str, Any]:
    """Content of a plans file.

    Args:
        folder: Data set's folder in nnUNet_preprocessed.
        name: Name of the plans.

    Raises:
        PlansError: There are none of this name; with the command that makes them.
        InputError: They are cut off, or no plans.
    """
    check_plain(name)
    file = folder / f"{name}.json"
    if not file.is_file():
        raise PlansError(f"{file} does not exist. {how_to_make(folder, name)}")
    return read_json_object(file, ["configurations"])


def all_plans(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> content of the plans in a data set's folder in nnUNet_preprocessed; files that are no plans are left out.

    Args:
        folder: The folder.
    """
    found = {}
    for file in sorted(folder.glob("*.json")):
        with suppress(InputError):
            content = read_json_object(file, ["configurations"])
            if "plans_name" in content:
                found[file.stem] = content
    return found


def how_to_make(folder: Path, name: str) -> str:
    """The command that makes missing plans, or the plans that there are if no planner calls its plans so.

    Args:
        folder: Data set's folder in nnUNet_preprocessed.
        name: Name of the plans.
    """
    command = f"nnUNetv2_plan_and_preprocess -d {dataset_number(folder.name)}"
    if name == DEFAULT_PLANS:
        return f"Run: {command}"
    if planner := planners_by_plans_name().get(name):
        return f"Run: {command} -pl {planner}"
    return f"The data set has the plans {', '.join(all_plans(folder)) or '(none)'}."


def dataset_number(name: str) -> int:
    """Number of a data set, from the name of its folder."""
    return int(name.removeprefix("Dataset").partition("_")[0])
