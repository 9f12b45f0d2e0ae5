"""``nnunet_ext workflow``: a folder with a Snakemake workflow and its settings."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from string import Template
from typing import Any

from nnunet_ext.doctor import NNUNET_FOLDERS, extended_search_path
from nnunet_ext.errors import UserError
from nnunet_ext.files.atomic import atomic_files

SHIPPED = Path(__file__).parent
COPIED = ("Snakefile", "config.schema.yaml", "profiles/slurm/config.yaml")
FILLED = {
    "config.template.yaml": "config.yaml",
    "profiles/default/config.yaml": "profiles/default/config.yaml",
}
PREVIOUS_STAGE = {"3d_cascade_fullres": "3d_lowres"}  # as nnU-Net's planner names them


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


def write_workflow(
    folder: Path, choices: WorkflowChoices, environment: Mapping[str, str], overwrite: bool = False
) -> list[Path]:
    """Write Snakefile, ``config.yaml``, its schema, and profiles for local runs and SLURM.

    Args:
        folder: Folder of the workflow, where its marks, logs, predictions and scores will be, too.
        choices: What it does.
        environment: Environment with nnU-Net's three folders.
        overwrite: Whether files of an earlier call are replaced; results in the folder always stay.

    Returns:
        The files written.

    Raises:
        WorkflowError: A variable is not set, the data set or a trainer does not exist, a cascade has no previous
            stage, or the folder has a workflow already.
    """
    files = [folder / name for name in (*COPIED, *FILLED.values())]
    if not overwrite and (taken := [file for file in files if file.exists()]):
        raise WorkflowError(f"{taken[0]} exists already. Edit it, choose another folder, or add --overwrite.")
    values = _config_values(choices, environment)
    with atomic_files(folder) as new:
        for name in COPIED:
            _make_parent(new / name)
            shutil.copyfile(SHIPPED / name, new / name)
        for name, target in FILLED.items():
            _make_parent(new / target)
            (new / target).write_text(Template((SHIPPED / name).read_text()).substitute(values))
    return files


def method_plans_name(trainer: str) -> str:
    """Name of a method's own plans, for example ``nnUNetExtModalityPairingPlans``."""
    return f"nnUNetExt{trainer.removesuffix('Trainer')}Plans"


def _config_values(choices: WorkflowChoices, environment: Mapping[str, str]) -> dict[str, str]:
    """Values of the templates' placeholders, as YAML."""
    folders = {name: _folder_of(name, environment) for name in NNUNET_FOLDERS}
    dataset = _dataset_name(folders["nnUNet_raw"], choices.dataset)
    own = _check_trainers(choices.trainers)
    method_plans = (
        {method_plans_name(name): {"trainer": name, "arguments": list(choices.assignments)} for name in own}
        if choices.assignments
        else {}
    )
    images = choices.images or _if_filled(folders["nnUNet_raw"] / dataset / "imagesTs")
    reference = choices.reference
    if reference is None and choices.images is None:
        reference = _if_filled(folders["nnUNet_raw"] / dataset / "labelsTs")
    models = list(_models(choices, method_plans))
    values = {
        "dataset": dataset,
        "folds": list(choices.folds),
        "device": choices.device,
        "devices": list(range(choices.num_gpus)) if choices.num_gpus > 1 else [],
        "raw": str(folders["nnUNet_raw"]),
        "preprocessed": str(folders["nnUNet_preprocessed"]),
        "results": str(folders["nnUNet_results"]),
        "search_path": extended_search_path(environment),
        "run_planning": choices.run_planning,
        "planner": choices.planner,
        "plans": choices.plans,
        "ensembling": len(models) > 1,
        "images": None if images is None else str(images.resolve()),
        "reference": None if reference is None else str(reference.resolve()),
        "ensembles": {"all_models": [_folder_name(model) for model in models]} if len(models) > 2 else {},
        "num_gpus": choices.num_gpus,
    }
    # JSON is YAML; one line an entry where a user will add and delete entries
    filled = {name: json.dumps(value) for name, value in values.items()}
    filled["models"] = "".join(f"\n  - {json.dumps(model)}" for model in models)
    entries = "".join(f"\n  {name}: {json.dumps(plan)}" for name, plan in method_plans.items())
    return filled | {"method_plans": entries or " {}"}


def _models(choices: WorkflowChoices, method_plans: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for trainer in choices.trainers:
        own_plans = method_plans_name(trainer)
        for configuration in choices.configurations:
            model = {
                "trainer": trainer,
                "plans": own_plans if own_plans in method_plans else choices.plans,
                "configuration": configuration,
            }
            if configuration in PREVIOUS_STAGE:
                model["previous_stage"] = PREVIOUS_STAGE[configuration]
                if PREVIOUS_STAGE[configuration] not in choices.configurations:
                    raise WorkflowError(f"{configuration} needs {PREVIOUS_STAGE[configuration]}: add it, too.")
            yield model


def _folder_name(model: Mapping[str, str]) -> str:
    return f"{model['trainer']}__{model['plans']}__{model['configuration']}"


def _folder_of(variable: str, environment: Mapping[str, str]) -> Path:
    if not environment.get(variable):
        raise WorkflowError(f"{variable} is not set. Run: nnunet_ext doctor")
    return Path(environment[variable]).resolve()


def _dataset_name(raw: Path, dataset: str) -> str:
    """Name of the folder of a data set in nnUNet_raw.

    Raises:
        WorkflowError: There is none, or there are several.
    """
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = [folder.name for folder in sorted(raw.glob(pattern)) if (folder / "dataset.json").is_file()]
    if len(found) != 1:
        raise WorkflowError(f"{raw} must have one folder {pattern} with a dataset.json, and has: {found or 'none'}.")
    return found[0]


def _check_trainers(names: Sequence[str]) -> list[str]:
    """Those of the trainers that are this package's own.

    Raises:
        WorkflowError: nnU-Net does not find one, or one is named twice.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from nnunet_ext.trainers import TRAINERS

    own = {trainer.__name__ for trainer in TRAINERS}
    if not names or len(set(names)) < len(names):
        raise WorkflowError(f"Name every trainer once: {list(names)}.")
    for name in set(names) - own:
        try:
            with redirect_stdout(StringIO()):  # nnU-Net reports where it searches
                recursive_find_trainer_class_by_name(name)
        except RuntimeError:
            raise WorkflowError(
                f"nnU-Net finds no trainer '{name}'. This package has {', '.join(sorted(own))}."
            ) from None
    return [name for name in names if name in own]


def _if_filled(folder: Path) -> Path | None:
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def _make_parent(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
