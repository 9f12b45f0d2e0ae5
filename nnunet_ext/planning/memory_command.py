"""``nnunet_ext plan --gpu-memory`` and ``--paper``: plans for a trainer's own network."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.planning.command import trainer_by_name
from nnunet_ext.planning.data_reuse import DataSource, share_data
from nnunet_ext.planning.dataset_folder import dataset_number, preprocessed_folder, read_plans
from nnunet_ext.planning.memory_table import PlannedStep, planned_steps
from nnunet_ext.planning.planner import GIGABYTE, MethodPlanner
from nnunet_ext.planning.plans_file import (
    CHANGES,
    PlansFile,
    notes_on_data,
    parse_assignments,
    plans_with_settings,
    read_changes,
    write_plans,
)
from nnunet_ext.planning.plans_name import DEFAULT_PLANS, check_new_name, plans_name
from nnunet_ext.plans.network_entry import HOST_NETWORKS, RESIDUAL_ENCODER, PlansError, resolved_configuration
from nnunet_ext.progress import steps

DEFAULT_GPU_MEMORY = 8.0  # GB; nnU-Net's own default
DEFAULT_BASE = 32  # features of the first stage; nnU-Net's own default


@dataclass(frozen=True)
class PlannedMemory:
    """What was planned.

    Attributes:
        file: The plans file.
        rows: What a training step of each configuration takes, the plain U-Net's beside it.
        data: Where each configuration's preprocessed data comes from.
        gpu_memory: Memory target, in GB.
        notes: What the trainer makes of the data set: modality groups, master modality.
        warnings: Configurations of the trainer that the target does not hold, a sentence each.
    """

    file: PlansFile
    rows: list[PlannedStep]
    data: list[DataSource]
    gpu_memory: float
    notes: list[str]
    warnings: list[str]


def write_memory_plans(
    dataset: str,
    trainer: str,
    output: str | None,
    assignments: Sequence[str],
    gpu_memory: float | None = None,
    paper: bool = False,
    configurations: Sequence[str] = (),
    overwrite: bool = False,
    plans: str = DEFAULT_PLANS,
) -> PlannedMemory:
    """Plan a dataset for a trainer's network and write ``<nnUNet_preprocessed>/<dataset>/<output>.json``.

    Args:
        dataset: Dataset ID or name.
        trainer: Name of a trainer of this package.
        output: Name of the new plans; None for that of :func:`plans_name`.
        assignments: ``key=value`` entries: settings, and sizes that are taken as given instead of planned.
        gpu_memory: Memory to fill, in GB of 10^9 bytes; None for nnU-Net's 8.
        paper: Whether the configuration that the paper trains gets its patch and batch.
        configurations: Configurations that given sizes apply to; empty means all that fit.
        overwrite: Whether plans of that name with other content are replaced.
        plans: Plans whose kind of network is planned: nnU-Net's default ones, or those of a residual-encoder preset.

    Raises:
        UserError: Unknown dataset, trainer or key, a bad value, no fingerprint, a name that is taken, or a target
            that holds no patch.
    """
    trainer_class = trainer_by_name(trainer)
    target = DEFAULT_GPU_MEMORY if gpu_memory is None else gpu_memory
    if not (math.isfinite(target) and target > 0):
        raise PlansError(f"--gpu-memory {target:g}: give the memory in GB, for example --gpu-memory 24.")
    values = parse_assignments(assignments)
    output = output or plans_name(
        trainer, values, plans=plans, configurations=configurations, gpu_memory=target, paper=paper
    )
    check_new_name(output, plans)
    base = read_changes(values).base_num_features or DEFAULT_BASE
    folder = preprocessed_folder(dataset)
    if not (folder / "dataset_fingerprint.json").is_file():
        number = dataset_number(folder.name)
        raise PlansError(f"{folder} has no fingerprint. Run: nnUNetv2_extract_fingerprint -d {number}")
    read_json_object(folder / "dataset_fingerprint.json")
    raw = os.environ.get("nnUNet_raw")
    if not raw or not Path(raw, folder.name, "dataset.json").is_file():
        raise PlansError(f"Planning reads {folder.name} in nnUNet_raw, which is not there. Run: nnunet_ext doctor")
    read_dataset_json(Path(raw, folder.name))
    default = read_plans(folder, DEFAULT_PLANS) if (folder / f"{DEFAULT_PLANS}.json").is_file() else None
    settings = {key: value for key, value in values.items() if key not in CHANGES}
    values.pop("base_num_features", None)  # planned with
    with steps("Planning") as begin:
        planner = MethodPlanner(
            folder.name,
            trainer_class,
            plans_name=output,
            settings=settings,
            gpu_memory=target,
            base_num_features=base,
            residual=plans != DEFAULT_PLANS and _is_residual(folder, plans),
            begin=begin,
        )
        planned = planner.plan_experiment()
    if paper:
        planner.use_published_size(planned)
    dataset_json = planner.dataset_json
    planned = plans_with_settings(
        planned, output, trainer=trainer_class, dataset_json=dataset_json, values=values, configurations=configurations
    )
    data = share_data(planned, folder)
    with steps("Counting", len(planned["configurations"])) as begin:
        rows = planned_steps(trainer_class, planned, dataset_json, default, begin)
    warnings = [
        f"{row.configuration}: patch {row.patch_size}, batch {row.batch_size} needs {row.cost.memory / GIGABYTE:.1f} "
        f"GB, which {target:g} GB do not hold."
        for row in rows
        if row.trainer == trainer and row.cost.memory > target * GIGABYTE
    ]
    return PlannedMemory(
        write_plans(planned, folder, overwrite),
        rows,
        data=data,
        gpu_memory=target,
        notes=notes_on_data(planned, trainer_class, dataset_json),
        warnings=warnings,
    )


def _is_residual(folder: Path, plans: str) -> bool:
    """Whether plans are of nnU-Net's residual-encoder U-Net, and not of its plain one.

    Raises:
        PlansError: There are no such plans, or they are of another network.
    """
    content = read_plans(folder, plans)
    networks = {
        resolved_configuration(content, name)["architecture"]["network_class_name"]
        for name in content["configurations"]
    }
    if len(networks) != 1 or not networks <= set(HOST_NETWORKS):
        raise PlansError(
            f"Plans '{plans}' are of {', '.join(sorted(networks))}; only nnU-Net's own networks are planned anew. Take "
            f"-p {DEFAULT_PLANS}, or a residual-encoder preset (nnUNetv2_plan_experiment -pl nnUNetPlannerResEncM)."
        )
    return networks == {RESIDUAL_ENCODER}
