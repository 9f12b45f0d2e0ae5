"""``nnunet_ext workflow``: a folder with a Snakemake workflow and its settings."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template

from nnunet_ext.doctor import NNUNET_FOLDERS
from nnunet_ext.files.atomic import atomic_files
from nnunet_ext.trainer_search import extended_search_path
from nnunet_ext.workflow.choices import (
    PREVIOUS_STAGE,
    MethodPlans,
    WorkflowChoices,
    WorkflowError,
    check_choices,
    check_path,
    check_workflow_folder,
)

SHIPPED = Path(__file__).parent
COPIED = ("Snakefile", "config.schema.yaml", "profiles/slurm/config.yaml")
FILLED = {
    "config.template.yaml": "config.yaml",
    "profiles/default/config.yaml": "profiles/default/config.yaml",
}


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
        UserError: A variable is not set, the choices do not fit the data set, the folder has a workflow already, or
            Snakemake cannot work in a folder of its name.
    """
    check_workflow_folder(folder.resolve())
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


def _config_values(choices: WorkflowChoices, environment: Mapping[str, str]) -> dict[str, str]:
    """Values of the templates' placeholders, as YAML."""
    folders = {name: _folder_of(name, environment) for name in NNUNET_FOLDERS}
    checked = check_choices(choices, folders)
    method_plans = {
        plans.name: {"trainer": plans.trainer, "arguments": list(plans.arguments)} for plans in checked.method_plans
    }
    models = list(_models(choices, checked.method_plans))
    values = {
        "dataset": checked.dataset,
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
        "ensembling": len(models) > 1 and not choices.study,
        "study": {"command": choices.command, "equal_time": choices.equal_time is not None} if choices.study else None,
        "images": None if checked.images is None else str(checked.images.resolve()),
        "reference": None if checked.reference is None else str(checked.reference.resolve()),
        "ensembles": {"all_models": [_folder_name(model) for model in models]}
        if len(models) > 2 and not choices.study
        else {},
        "num_gpus": choices.num_gpus,
    }
    # JSON is YAML; one line an entry where a user will add and delete entries
    filled = {name: json.dumps(value) for name, value in values.items()}
    filled["models"] = "".join(f"\n  - {json.dumps(model)}" for model in models)
    entries = "".join(f"\n  {name}: {json.dumps(plan)}" for name, plan in method_plans.items())
    return filled | {"method_plans": entries or " {}"}


def _models(choices: WorkflowChoices, method_plans: Sequence[MethodPlans]) -> Iterator[dict[str, str]]:
    with_own_plans = {plans.trainer for plans in method_plans}
    trained = [(plans.trainer, plans.name) for plans in method_plans]
    trained += [(trainer, choices.plans) for trainer in choices.trainers if trainer not in with_own_plans]
    # in the order that was chosen; plain nnU-Net of a study first
    trained.sort(key=lambda entry: choices.trainers.index(entry[0]) if entry[0] in choices.trainers else -1)
    for trainer, plans in dict.fromkeys(trained):
        for configuration in choices.configurations:
            model = {"trainer": trainer, "plans": plans, "configuration": configuration}
            if configuration in PREVIOUS_STAGE:
                model["previous_stage"] = PREVIOUS_STAGE[configuration]
            yield model


def _folder_name(model: Mapping[str, str]) -> str:
    return f"{model['trainer']}__{model['plans']}__{model['configuration']}"


def _folder_of(variable: str, environment: Mapping[str, str]) -> Path:
    if not environment.get(variable):
        raise WorkflowError(f"{variable} is not set. Run: nnunet_ext doctor")
    folder = Path(environment[variable]).resolve()
    check_path(folder)
    return folder


def _make_parent(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
