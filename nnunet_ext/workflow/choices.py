"""What a workflow does, and what would make one of its jobs fail: told before anything is written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import UserError
from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.host.planner import planners_by_plans_name
from nnunet_ext.planning.dataset_folder import dataset_number, find_dataset, read_plans
from nnunet_ext.planning.plans_file import CHANGES, parse_assignments, plans_with_settings, read_changes
from nnunet_ext.planning.plans_name import check_plain, plans_name
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.plans.settings import PLANS_KEY
from nnunet_ext.workflow.trainer_lookup import OWN, find_trainer

PREVIOUS_STAGE = {"3d_cascade_fullres": "3d_lowres"}  # as nnU-Net's planner names them
CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")  # of nnU-Net's planners
# config.schema.yaml has the same
DATASET_NAME = "Dataset[0-9]{3,}_[A-Za-z0-9_.+-]+"
PLANNER_NAME = "[A-Za-z0-9_]+"


class WorkflowError(UserError):
    """A workflow that cannot be written."""


@dataclass(frozen=True)
class WorkflowChoices:
    """What the workflow does; the rest has defaults in ``config.yaml``.

    Args:
        dataset: Dataset ID or name.
        trainers: Trainers of this package, of nnU-Net, or of other folders that nnUNet_extTrainer names.
        configurations: Configurations that each of them is trained in.
        folds: Folds of each.
        assignments: Arguments of ``nnunet_ext plan`` (``key=value``); the trainers of this package then get plans of
            their own, and other trainers train with ``plans`` as they are.
        plans: Plans to make, or to start from.
        planner: nnU-Net's planner that makes them.
        run_planning: Whether the workflow plans and preprocesses.
        device: ``"cuda"``, ``"cpu"`` or ``"mps"``.
        num_gpus: GPU jobs at a time in local runs; with more than one, each gets a GPU of its own.
        images: Folder of images to predict; None takes the data set's ``imagesTs`` where there is one.
        reference: Folder of their references; None takes ``labelsTs`` where images are ``imagesTs``.
    """

    dataset: str
    trainers: Sequence[str]
    configurations: Sequence[str] = ("3d_fullres",)
    folds: Sequence[int] = (0, 1, 2, 3, 4)
    assignments: Sequence[str] = ()
    plans: str = "nnUNetPlans"
    planner: str = "ExperimentPlanner"
    run_planning: bool = True
    device: str = "cuda"
    num_gpus: int = 1
    images: Path | None = None
    reference: Path | None = None


@dataclass(frozen=True)
class CheckedChoices:
    """Choices that fit the data set, and what follows from them.

    Attributes:
        dataset: Name of the data set's folder.
        method_plans: Trainer of this package -> name of its own plans; empty without settings.
        images: Folder of images to predict, or None.
        reference: Folder of their label images, or None.
    """

    dataset: str
    method_plans: dict[str, str]
    images: Path | None
    reference: Path | None


def check_choices(choices: WorkflowChoices, folders: Mapping[str, Path]) -> CheckedChoices:
    """Check what can be known before the workflow runs.

    Args:
        choices: What the workflow is to do.
        folders: nnU-Net's three folders, by the names of their variables.

    Raises:
        UserError: The data set, a trainer, a configuration, plans or images do not exist, a setting is wrong, a
            trainer does not fit the data set, a cascade has no previous stage, or plans would be lost.
    """
    dataset = _dataset_folder(folders["nnUNet_raw"], choices.dataset)
    dataset_json = read_dataset_json(dataset)
    own = _own_trainers(choices.trainers)
    check_plain(choices.plans)
    if not re.fullmatch(PLANNER_NAME, choices.planner):
        raise WorkflowError(f"'{choices.planner}' is no name of a planner.")
    _check_folds(choices.folds)
    preprocessed = folders["nnUNet_preprocessed"] / dataset.name
    if choices.run_planning:
        _check_planner(choices)
        _check_replaceable(preprocessed / f"{choices.plans}.json", choices)
        plans = None
    else:
        plans = read_plans(preprocessed, choices.plans)
    _check_configurations(choices, plans)
    if plans is not None:
        _check_preprocessed(choices, plans, preprocessed)
    values = parse_assignments(choices.assignments)
    if values and not own:
        raise WorkflowError(
            f"{', '.join(values)}: settings are those of this package's trainers, and {', '.join(choices.trainers)} "
            "is none of them."
        )
    for trainer in own:
        _check_settings(trainer, values, choices=choices, plans=plans, dataset_json=dataset_json)
    images, reference = _images(choices, dataset)
    names = {trainer: plans_name(trainer, values, choices.plans) for trainer in own} if values else {}
    return CheckedChoices(dataset.name, names, images, reference)


def _dataset_folder(raw: Path, dataset: str) -> Path:
    folder = find_dataset(raw, dataset)
    if not re.fullmatch(DATASET_NAME, folder.name):
        raise WorkflowError(
            f"{folder}: rename the data set so that its name has letters, digits, '_', '-', '.' and '+' only."
        )
    return folder


def _own_trainers(names: Sequence[str]) -> list[str]:
    """Those of the trainers that are this package's own."""
    if not names or len(set(names)) < len(names):
        raise WorkflowError(f"Name every trainer once: {list(names)}.")
    for name in names:
        find_trainer(name)
    return [name for name in names if name in OWN]


def _check_folds(folds: Sequence[int]) -> None:
    if not folds or len(set(folds)) < len(folds) or min(folds) < 0:
        raise WorkflowError(f"Name every fold once, counted from 0: {list(folds)}.")


def _check_planner(choices: WorkflowChoices) -> None:
    """Refuse to give the plans of one of nnU-Net's planners the name of another's."""
    planners = planners_by_plans_name()
    if planners.get(choices.plans, choices.planner) != choices.planner:
        named = {planner: plans for plans, planner in planners.items()}.get(choices.planner, "another name")
        raise WorkflowError(
            f"{choices.plans} is the name of {planners[choices.plans]}'s plans: add -pl {planners[choices.plans]}, or "
            f"for {choices.planner} -p {named}."
        )


def _check_replaceable(file: Path, choices: WorkflowChoices) -> None:
    """Refuse to let nnU-Net's planner write over plans that it does not make."""
    if not file.is_file():
        return
    plans = read_plans(file.parent, file.stem)
    made_by = "nnunet_ext plan" if PLANS_KEY in plans else plans.get("experiment_planner_used")
    if made_by not in (None, choices.planner):
        raise WorkflowError(
            f"{file} was made by {made_by}, and {choices.planner} would replace it. Add --preprocessed to use these "
            "plans and their preprocessed data as they are, or choose another name for the new ones with -p."
        )


def _check_configurations(choices: WorkflowChoices, plans: dict[str, Any] | None) -> None:
    if len(set(choices.configurations)) < len(choices.configurations):
        raise WorkflowError(f"Name every configuration once: {list(choices.configurations)}.")
    known = CONFIGURATIONS if plans is None else tuple(plans["configurations"])
    for name in choices.configurations:
        if name not in known:
            whose = "nnU-Net plans" if plans is None else f"Plans {choices.plans} have"
            raise WorkflowError(f"There is no configuration '{name}'. {whose} {', '.join(known)}.")
        check_plain(name)
        if name in PREVIOUS_STAGE and PREVIOUS_STAGE[name] not in choices.configurations:
            raise WorkflowError(f"{name} needs {PREVIOUS_STAGE[name]}: add it, too.")


def _check_preprocessed(choices: WorkflowChoices, plans: dict[str, Any], folder: Path) -> None:
    for name in choices.configurations:
        if not (folder / resolved_configuration(plans, name)["data_identifier"]).is_dir():
            raise WorkflowError(
                f"{folder} has no preprocessed data for {name} of {choices.plans}. "
                f"Run: nnUNetv2_preprocess -d {dataset_number(folder.name)} -plans_name {choices.plans} -c {name}"
            )


def _check_settings(
    trainer: str,
    values: dict[str, Any],
    choices: WorkflowChoices,
    plans: dict[str, Any] | None,
    dataset_json: dict[str, Any],
) -> None:
    """Raise what ``nnunet_ext plan`` and the trainings would raise."""
    trainer_class = OWN[trainer]
    if plans is None:
        trainer_class.settings_for({k: v for k, v in values.items() if k not in CHANGES}, dataset_json, [])
        axes = {name: 2 if name == "2d" else 3 for name in choices.configurations}
    else:
        plans = (
            plans_with_settings(plans, choices.plans, trainer=trainer_class, dataset_json=dataset_json, values=values)
            if values
            else plans
        )
        for name in choices.configurations:
            trainer_class.prepare_plans(plans, name, dataset_json)
        axes = {name: len(resolved_configuration(plans, name)["patch_size"]) for name in choices.configurations}
    patch_size = read_changes(values).patch_size
    if patch_size is not None and len(patch_size) not in axes.values():
        known = ", ".join(f"{name} {number}" for name, number in axes.items())
        raise WorkflowError(
            f"patch_size has {len(patch_size)} numbers and fits no configuration. They have axes: {known}."
        )


def _images(choices: WorkflowChoices, dataset: Path) -> tuple[Path | None, Path | None]:
    """Folders of the images to predict and of their references."""
    for option, folder in (("--images", choices.images), ("--reference", choices.reference)):
        if folder is not None and not _is_filled(folder):
            raise WorkflowError(f"{option}: {folder} is no folder with files.")
    images = choices.images or (dataset / "imagesTs" if _is_filled(dataset / "imagesTs") else None)
    if choices.reference is not None and images is None:
        raise WorkflowError(f"--reference: there are no images to predict; {dataset} has no imagesTs. Add --images.")
    default = dataset / "labelsTs"
    reference = choices.reference or (default if choices.images is None and _is_filled(default) else None)
    return images, reference


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
