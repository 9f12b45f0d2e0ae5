"""Table of planned configurations: what a training step of the method takes, next to the plain U-Net's."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnunet_ext.host.trainer import nnUNetTrainer
from nnunet_ext.planning.training_step import StepCost, step_cost
from nnunet_ext.plans.network_entry import HOST_NETWORKS, resolved_configuration
from nnunet_ext.tables import TextTable, text_table
from nnunet_ext.trainers.base import MethodTrainer

QUANTITIES = ("patch", "batch", "weights [M]", "memory [GB]", "of target", "work [Gop]")


@dataclass(frozen=True)
class PlannedStep:
    """A row: a network in a configuration.

    Attributes:
        configuration: For example ``"3d_fullres"``.
        trainer: Name of the trainer.
        network: Name of the network.
        plans: Name of the plans, which differs where nnU-Net's own are compared with.
        patch_size: Voxels.
        batch_size: Samples a step.
        cost: What a training step takes.
    """

    configuration: str
    trainer: str
    network: str
    plans: str
    patch_size: tuple[int, ...]
    batch_size: int
    cost: StepCost


def planned_steps(
    trainer: type[MethodTrainer],
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
    default_plans: dict[str, Any] | None = None,
    begin: Callable[[str], None] = lambda name: None,
) -> list[PlannedStep]:
    """Rows of each configuration: the trainer, nnU-Net's U-Net at the same size, and nnU-Net's as planned for it.

    Args:
        trainer: Trainer that the plans were made for.
        plans: The new plans.
        dataset_json: Content of ``dataset.json``.
        default_plans: nnU-Net's own plans of the dataset; None leaves the third row out.
        begin: Called with the name of each configuration when it is taken on.
    """
    rows = []
    for configuration in plans["configurations"]:
        begin(configuration)
        rows += [_row(of, plans, configuration, dataset_json) for of in (trainer, nnUNetTrainer)]
        if default_plans is not None and configuration in default_plans["configurations"]:
            network = resolved_configuration(default_plans, configuration)["architecture"]["network_class_name"]
            if network in HOST_NETWORKS:
                rows.append(_row(nnUNetTrainer, default_plans, configuration, dataset_json))
    return rows


def _row(
    trainer: type[nnUNetTrainer], plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
) -> PlannedStep:
    own = trainer.prepare_plans(plans, configuration, dataset_json)[0] if issubclass(trainer, MethodTrainer) else plans
    resolved = resolved_configuration(own, configuration)
    return PlannedStep(
        configuration,
        trainer.__name__,
        network=resolved["architecture"]["network_class_name"].rpartition(".")[2],
        plans=plans["plans_name"],
        patch_size=tuple(resolved["patch_size"]),
        batch_size=resolved["batch_size"],
        cost=step_cost(trainer, plans, configuration, dataset_json, count_operations=True),
    )


def memory_table(rows: Sequence[PlannedStep], gpu_memory: float) -> TextTable:
    """The rows as a table for a screen of 80 columns.

    Args:
        rows: From ``planned_steps``.
        gpu_memory: Memory target, in GB of 10^9 bytes.
    """
    cells: list[list[str]] = []
    sections: list[int] = []
    for configuration in dict.fromkeys(row.configuration for row in rows):
        of_configuration = [row for row in rows if row.configuration == configuration]
        sections += [len(cells) - 1] if cells else []
        cells.append([configuration, *[""] * len(QUANTITIES)])
        cells += [[f"  {_name(row, rows[0])}", *_numbers(row, gpu_memory)] for row in of_configuration]
    caption = "work: multiplications and additions"
    if plain := [row for row in rows if row.trainer != rows[0].trainer]:
        caption += f"; {_name(plain[0], rows[0])}: nnU-Net's own trainer with the same patch and batch"
    if others := [row for row in rows if row.plans != rows[0].plans]:
        caption += f"; {others[0].plans}: its {others[0].network} as nnU-Net plans it"
    return text_table(
        ["", *QUANTITIES],
        cells,
        title=f"A training step of {rows[0].trainer}; memory for mixed precision, target {gpu_memory:g} GB",
        caption=f"{caption}.",
        sections=sections,
    )


def memory_records(rows: Sequence[PlannedStep]) -> list[dict[str, Any]]:
    """The rows for programs: memory in bytes, work in operations."""
    return [asdict(row) | {"cost": asdict(row.cost) | {"memory": row.cost.memory}} for row in rows]


def _name(row: PlannedStep, own: PlannedStep) -> str:
    if row.trainer == own.trainer:
        return "this trainer"
    if row.plans != own.plans:
        return row.plans
    return "ResEnc U-Net" if row.network == "ResidualEncoderUNet" else "plain U-Net"


def _numbers(row: PlannedStep, gpu_memory: float) -> list[str]:
    work = row.cost.operations / 1e9
    return [
        "x".join(map(str, row.patch_size)),
        str(row.batch_size),
        f"{row.cost.parameters / 1e6:.2f}",
        f"{row.cost.memory / 1e9:.2f}",
        f"{row.cost.memory / 1e9 / gpu_memory:.0%}",
        f"{work:.0f}" if work >= 100 else f"{work:.3g}",
    ]
