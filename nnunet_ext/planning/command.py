"""``nnunet_ext plan``: from names on the command line to a plans file in nnU-Net's folder."""

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.planning.dataset_folder import preprocessed_folder, read_plans
from nnunet_ext.planning.plans_file import (
    PlansFile,
    notes_on_data,
    parse_assignments,
    plans_with_settings,
    write_plans,
)
from nnunet_ext.planning.plans_name import DEFAULT_PLANS, check_new_name, plans_name
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.trainers import TRAINERS
from nnunet_ext.trainers.base import MethodTrainer


@dataclass(frozen=True)
class MethodPlans:
    """What was written.

    Attributes:
        file: The plans file.
        notes: What the trainer makes of the data set: modality groups, master modality.
    """

    file: PlansFile
    notes: list[str]


def write_method_plans(
    dataset: str,
    trainer: str,
    output: str | None,
    assignments: Sequence[str],
    plans: str = DEFAULT_PLANS,
    configurations: Sequence[str] = (),
    overwrite: bool = False,
) -> MethodPlans:
    """Write ``<nnUNet_preprocessed>/<dataset>/<output>.json``.

    Args:
        dataset: Dataset ID or name.
        trainer: Name of a trainer of this package.
        output: Name of the new plans; None for that of :func:`plans_name`.
        assignments: ``key=value`` entries.
        plans: Name of the plans to start from.
        configurations: Configurations that changes of patch, batch and width apply to; empty means all that fit.
        overwrite: Whether plans of that name with other content are replaced.

    Raises:
        UserError: Unknown dataset, trainer, plans or key, a bad value, or a name that is taken.
    """
    trainer_class = trainer_by_name(trainer)
    values = parse_assignments(assignments)
    output = output or plans_name(trainer, values, plans, configurations)
    check_new_name(output, plans)
    folder = preprocessed_folder(dataset)
    dataset_json = read_dataset_json(folder)
    new = plans_with_settings(
        read_plans(folder, plans),
        output,
        trainer=trainer_class,
        dataset_json=dataset_json,
        values=values,
        configurations=configurations,
    )
    return MethodPlans(write_plans(new, folder, overwrite), notes_on_data(new, trainer_class, dataset_json))


def trainer_by_name(name: str) -> type[MethodTrainer]:
    """Trainer of this package with this name.

    Raises:
        PlansError: There is none.
    """
    trainers = {trainer.__name__: trainer for trainer in TRAINERS}
    if name not in trainers:
        raise PlansError(f"No trainer '{name}'. Trainers: {', '.join(trainers)}.")
    return trainers[name]
