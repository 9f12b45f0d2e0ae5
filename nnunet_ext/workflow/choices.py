"""What a workflow does, and what would make one of its jobs fail: told before anything is written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from nnunet_ext.study.equal_time import PlannedTraining, epochs_at_equal_time
from nnunet_ext.study.repeats import PLAIN_NAME
from nnunet_ext.study.rows import size_of_plans
from nnunet_ext.trainers.lookup import OWN, find_trainer
from nnunet_ext.trainers.modality_dropout import ModalityDropoutTrainer

# What equals nnU-Net's own trainer and has settings
PLAIN, PLAIN_SETTING = ModalityDropoutTrainer.__name__, "modality_dropout=0"
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
        assignments: Arguments of ``nnunet_ext plan`` (``key=value``, or ``TRAINER:key=value`` for one trainer alone);
            the trainers of this package then get plans of their own, and other trainers train with ``plans`` as
            they are.
        plans: Plans to make, or to start from.
        planner: nnU-Net's planner that makes them.
        run_planning: Whether the workflow plans and preprocesses.
        device: ``"cuda"``, ``"cpu"`` or ``"mps"``.
        num_gpus: GPU jobs at a time in local runs; with more than one, each gets a GPU of its own.
        images: Folder of images to predict; None takes the data set's ``imagesTs`` where there is one.
        reference: Folder of their references; None takes ``labelsTs`` where images are ``imagesTs``.
        study: Whether to compare the trainers with plain nnU-Net at equal steps instead of choosing the best.
        seeds: Seeds of a study; every trainer is trained with each of them.
        equal_time: ``results.yaml`` of an earlier study, for one in which every trainer trains as long as plain
            nnU-Net; None for equal steps.
        command: Command line that the choices come from, for the rows of a study.
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
    study: bool = False
    seeds: Sequence[int] = ()
    equal_time: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class MethodPlans:
    """Plans that ``nnunet_ext plan`` is to make.

    Attributes:
        trainer: Trainer of this package.
        arguments: ``key=value`` entries.
        name: Name of the plans.
    """

    trainer: str
    arguments: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class CheckedChoices:
    """Choices that fit the data set, and what follows from them.

    Attributes:
        dataset: Name of the data set's folder.
        method_plans: Plans of the trainers of this package; those without settings have none.
        images: Folder of images to predict, or None.
        reference: Folder of their label images, or None.
    """

    dataset: str
    method_plans: tuple[MethodPlans, ...]
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
    if choices.study:
        _check_study(choices, own)
    elif choices.seeds:
        raise WorkflowError("--seed belongs to --study. Elsewhere seed=1 is a setting of this package's trainers.")
    elif choices.equal_time:
        raise WorkflowError("--equal-time belongs to --study: add --study.")
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
    _check_assignments(choices, own)
    method_plans = tuple(_method_plans(choices, own))
    if choices.equal_time is not None and plans is not None:
        trainings = list(_planned_trainings(choices, method_plans, plans, dataset_json))
        epochs = epochs_at_equal_time(choices.equal_time, trainings, dataset=dataset.name, device=choices.device)
        given = [f"{trainer}:num_epochs={number}" for trainer, number in epochs.items()]
        method_plans = tuple(_method_plans(replace(choices, assignments=[*choices.assignments, *given]), own))
    for trainer in own:
        if not any(plan.trainer == trainer for plan in method_plans):
            _check_settings(trainer, {}, choices=choices, plans=plans, dataset_json=dataset_json)
    for plan in method_plans:
        values = parse_assignments(plan.arguments)
        _check_settings(plan.trainer, values, choices=choices, plans=plans, dataset_json=dataset_json)
    images, reference = (None, None) if choices.study else _images(choices, dataset)
    return CheckedChoices(dataset.name, method_plans, images, reference)


def _check_study(choices: WorkflowChoices, own: Sequence[str]) -> None:
    """Refuse what cannot be trained with seeds and for a number of steps that is set."""
    if others := [name for name in choices.trainers if name not in own]:
        raise WorkflowError(
            f"{', '.join(others)}: a study sets steps and seed, which nnU-Net's own trainers have no settings for. "
            f"Plain nnU-Net is in every study: {PLAIN} with {PLAIN_SETTING}, which equals nnUNetTrainer."
        )
    if not choices.seeds or len(set(choices.seeds)) < len(choices.seeds):
        raise WorkflowError(f"Name every seed once: {list(choices.seeds)}.")
    if len(choices.configurations) > 1 or choices.configurations[0] in PREVIOUS_STAGE:
        raise WorkflowError("A study compares trainers in one configuration, and not in the last stage of a cascade.")
    if choices.images or choices.reference:
        raise WorkflowError("A study scores the validation cases of its folds: leave out --images and --reference.")
    if choices.equal_time and choices.run_planning:
        raise WorkflowError("--equal-time needs the plans that were timed, not new ones: add --preprocessed.")


def _check_assignments(choices: WorkflowChoices, own: Sequence[str]) -> None:
    """Refuse settings that no trainer would get."""
    keys = [assignment.partition("=")[0] for assignment in choices.assignments]
    named = {key.partition(":")[0] for key in keys if ":" in key}
    if strangers := sorted(named - {*own, *([PLAIN] if choices.study else [])}):
        raise WorkflowError(
            f"{', '.join(strangers)}: settings for this trainer, which is not among this package's of "
            f"{', '.join(choices.trainers)}."
        )
    if keys and not own:
        raise WorkflowError(
            f"{', '.join(keys)}: settings are those of this package's trainers, and {', '.join(choices.trainers)} "
            "is none of them."
        )
    if choices.study and (fixed := {"seed"} & {key.rpartition(":")[2] for key in keys}):
        raise WorkflowError(f"{', '.join(fixed)}: a study sets this itself. Choose seeds with --seed.")
    lengths = ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch")
    if choices.equal_time and (fixed := {key for key in keys if ":" in key and key.partition(":")[2] in lengths}):
        raise WorkflowError(
            f"{', '.join(sorted(fixed))}: with --equal-time all have epochs of one length, and how many follows from "
            "num_epochs, which is plain nnU-Net's. Give it without TRAINER: in front."
        )


def _planned_trainings(
    choices: WorkflowChoices,
    method_plans: Sequence[MethodPlans],
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
) -> Iterator[PlannedTraining]:
    """What a study would train at equal steps, plain nnU-Net first; seeds, which differ in nothing else, are one."""
    (configuration,) = choices.configurations
    for index, entry in enumerate(method_plans[:: len(choices.seeds)]):
        trainer, values = OWN[entry.trainer], parse_assignments(entry.arguments)
        own = plans_with_settings(plans, entry.name, trainer=trainer, dataset_json=dataset_json, values=values)
        prepared, settings, _ = trainer.prepare_plans(own, configuration, dataset_json)
        size = size_of_plans(configuration, resolved_configuration(prepared, configuration))
        yield PlannedTraining(entry.trainer if index else PLAIN_NAME, size, settings)


def arguments_of(choices: WorkflowChoices, trainer: str) -> list[str]:
    """Assignments that a trainer gets: those of all, then its own, which replace them."""
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    for assignment in choices.assignments:
        key, separator, value = assignment.partition("=")
        name, colon, setting = key.partition(":")
        if not colon:
            target, setting = shared, key
        elif name == trainer:
            target = own
        else:
            continue
        if setting in target or not separator:
            parse_assignments([assignment, assignment])  # raises what is wrong with it
        target[setting] = f"{setting}={value}"
    return list((shared | own).values())


def _method_plans(choices: WorkflowChoices, own: Sequence[str]) -> Iterator[MethodPlans]:
    entries = [(trainer, arguments_of(choices, trainer)) for trainer in own]
    if choices.study:
        plain = arguments_of(choices, PLAIN) if PLAIN not in own else arguments_of(choices, "")
        # the user's own entry may be another probability; plain nnU-Net is none
        plain = [argument for argument in plain if not argument.startswith("modality_dropout=")]
        entries = [(PLAIN, [*plain, PLAIN_SETTING]), *entries]
        entries = [(trainer, [*arguments, f"seed={seed}"]) for trainer, arguments in entries for seed in choices.seeds]
    for trainer, arguments in entries:
        if arguments:
            name = plans_name(trainer, parse_assignments(arguments), choices.plans)
            yield MethodPlans(trainer, tuple(arguments), name)


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
        if folder is not None:
            check_path(folder.resolve())
    images = choices.images or (dataset / "imagesTs" if _is_filled(dataset / "imagesTs") else None)
    if choices.reference is not None and images is None:
        raise WorkflowError(f"--reference: there are no images to predict; {dataset} has no imagesTs. Add --images.")
    default = dataset / "labelsTs"
    reference = choices.reference or (default if choices.images is None and _is_filled(default) else None)
    return images, reference


def check_path(path: Path) -> None:
    """Raise WorkflowError for a folder of inputs or outputs that Snakemake would take for something else."""
    _refuse(path, "{}<>", "Snakemake takes {} in paths for a pattern")
    # it puts a job's command, with the paths of inputs and of the Snakefile, into double quotes of a shell
    _refuse(path, "$`\\", "Snakemake's SLURM executor gives paths to a shell, which expands {}")


def check_workflow_folder(folder: Path) -> None:
    """Raise WorkflowError for a folder that Snakemake would not read its profile from, or not that alone."""
    check_path(folder)
    _refuse(folder, "[*?", "Snakemake takes {} in the path of a profile for a pattern")


def _refuse(path: Path, characters: str, reason: str) -> None:
    if found := [character for character in characters if character in str(path)]:
        raise WorkflowError(f"{path}: {reason.format(' and '.join(found))}. Rename the folder.")


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
