"""Table of planned configurations: what a training step of the method takes, next to the plain U-Net's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from nnunet_ext.host.trainer import nnUNetTrainer
from nnunet_ext.planning.training_step import StepCost, step_cost
from nnunet_ext.plans.network_entry import HOST_NETWORKS, RESIDUAL_ENCODER, resolved_configuration
from nnunet_ext.tables import text_table
from nnunet_ext.trainers.base import MethodTrainer


@dataclass(frozen=True)
class PlannedStep:
    """A row: a network in a configuration.

    Attributes:
        configuration: For example ``"3d_fullres"``.
        network: Trainer, or nnU-Net's own network, and the plans if they are not the new ones.
        patch_size: Voxels.
        batch_size: Samples a step.
        cost: What a training step takes.
    """

    configuration: str
    network: str
    patch_size: tuple[int, ...]
    batch_size: int
    cost: StepCost


def planned_steps(
    trainer: type[MethodTrainer],
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
    default_plans: dict[str, Any] | None = None,
) -> list[PlannedStep]:
    """Rows of each configuration: the trainer, nnU-Net's U-Net at the same size, and nnU-Net's as planned for it.

    Args:
        trainer: Trainer that the plans were made for.
        plans: The new plans.
        dataset_json: Content of ``dataset.json``.
        default_plans: nnU-Net's own plans of the dataset; None leaves the third row out.
    """
    rows = []
    for configuration in plans["configurations"]:
        rows.append(
            _row(trainer, trainer.__name__, plans=plans, configuration=configuration, dataset_json=dataset_json)
        )
        rows.append(
            _row(
                nnUNetTrainer,
                f"{'residual-encoder' if _is_residual(plans, configuration) else 'plain'} U-Net, same size",
                plans=plans,
                configuration=configuration,
                dataset_json=dataset_json,
            )
        )
        if default_plans is not None and configuration in default_plans["configurations"]:
            network = resolved_configuration(default_plans, configuration)["architecture"]["network_class_name"]
            if network in HOST_NETWORKS:
                label = f"{network.rpartition('.')[2]}, {default_plans['plans_name']}"
                rows.append(
                    _row(
                        nnUNetTrainer,
                        label,
                        plans=default_plans,
                        configuration=configuration,
                        dataset_json=dataset_json,
                    )
                )
    return rows


def _is_residual(plans: dict[str, Any], configuration: str) -> bool:
    return resolved_configuration(plans, configuration)["architecture"]["network_class_name"] == RESIDUAL_ENCODER


def _row(
    trainer: type[nnUNetTrainer],
    network: str,
    plans: dict[str, Any],
    configuration: str,
    dataset_json: dict[str, Any],
) -> PlannedStep:
    resolved = resolved_configuration(plans, configuration)
    cost = step_cost(trainer, plans, configuration, dataset_json, count_operations=True)
    return PlannedStep(
        configuration, network, patch_size=tuple(resolved["patch_size"]), batch_size=resolved["batch_size"], cost=cost
    )


def memory_table(rows: Sequence[PlannedStep], gpu_memory: float) -> Table:
    """The rows as a table.

    Args:
        rows: From ``planned_steps``.
        gpu_memory: Memory target, in GB of 10^9 bytes.
    """
    cells = [
        [
            row.configuration,
            row.network,
            "x".join(map(str, row.patch_size)),
            str(row.batch_size),
            f"{row.cost.parameters / 1e6:.2f} M",
            f"{row.cost.memory / 1e9:.2f} GB",
            f"{row.cost.memory / 1e9 / gpu_memory:.0%}",
            f"{row.cost.operations / 1e12:.3g} Top",
        ]
        for row in rows
    ]
    table = text_table(
        ["configuration", "network", "patch", "batch", "parameters", "memory", "of target", "arithmetic"],
        cells,
        title=f"A training step; memory is estimated for mixed precision, target {gpu_memory:g} GB",
        num_left=2,
    )
    for row, following, line in zip(rows, rows[1:], table.rows, strict=False):
        line.end_section = row.configuration != following.configuration
    return table
