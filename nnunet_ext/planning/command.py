"""``nnunet_ext plan``: from names on the command line to a plans file in nnU-Net's folder."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

from nnunet_ext.planning.plans_file import parse_assignments, plans_with_settings, write_plans
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.trainers import TRAINERS
from nnunet_ext.trainers.base import MethodTrainer


def write_method_plans(
    dataset: str,
    trainer: str,
    output: str,
    assignments: Sequence[str],
    plans: str = "nnUNetPlans",
    configurations: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write ``<nnUNet_preprocessed>/<dataset>/<output>.json``.

    Args:
        dataset: Dataset ID or name.
        trainer: Name of a trainer of this package.
        output: Name of the new plans.
        assignments: ``key=value`` entries.
        plans: Name of the plans to start from.
        configurations: Configurations that changes of patch, batch and width apply to; empty means all that fit.
        overwrite: Whether plans of that name are replaced.

    Returns:
        The file written.

    Raises:
        UserError: Unknown dataset, trainer, plans or key, a bad value, or a name that is taken.
    """
    trainer_class = trainer_by_name(trainer)
    folder = preprocessed_folder(dataset)
    check_name(output, plans)
    source = folder / f"{plans}.json"
    if not source.is_file():
        raise PlansError(f"{source} does not exist. Run: nnUNetv2_plan_and_preprocess -d {dataset}")
    dataset_json = json.loads((folder / "dataset.json").read_text())
    values = parse_assignments(assignments)
    new = plans_with_settings(
        json.loads(source.read_text()), output, trainer_class, dataset_json, values, configurations
    )
    return write_plans(new, folder, overwrite)


def check_name(name: str, taken: str) -> None:
    """Raise PlansError unless this can be the name of new plans.

    Args:
        name: Name of the new plans; part of the names of nnU-Net's results folders.
        taken: Plans that must not be replaced.
    """
    if not name or name == taken or not name.replace("_", "").replace("-", "").isalnum() or "__" in name:
        raise PlansError(
            f"'{name}' cannot be the name of the new plans: use letters, digits, '-' and single '_', "
            f"and not '{taken}', nnU-Net's own or those to start from."
        )


def trainer_by_name(name: str) -> type[MethodTrainer]:
    """Trainer of this package with this name.

    Raises:
        PlansError: There is none.
    """
    trainers = {trainer.__name__: trainer for trainer in TRAINERS}
    if name not in trainers:
        raise PlansError(f"No trainer '{name}'. Trainers: {', '.join(trainers)}.")
    return trainers[name]


def preprocessed_folder(dataset: str) -> Path:
    """Folder of a dataset's plans.

    Raises:
        PlansError: nnUNet_preprocessed is not set, or it has no such dataset.
    """
    base = os.environ.get("nnUNet_preprocessed")
    if not base:
        raise PlansError("nnUNet_preprocessed is not set. Run: nnunet_ext doctor")
    try:
        name = maybe_convert_to_dataset_name(int(dataset) if dataset.isdigit() else dataset)
    except RuntimeError as error:
        raise PlansError(f"Dataset {dataset} was not found in nnU-Net's folders: {error}") from None
    folder = Path(base, name)
    if not folder.is_dir():
        raise PlansError(f"{folder} does not exist. Run: nnUNetv2_plan_and_preprocess -d {dataset}")
    return folder
