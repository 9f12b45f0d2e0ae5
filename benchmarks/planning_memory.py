"""The planner's estimate against counted memory of real training steps, and how much of a target its plans fill.

Without a GPU: "counted" are the bytes of all tensors alive in a step that really runs, on the CPU; "estimated" is what
the planner finds without running it. Both in float32 and in mixed precision (the GPU's rules, with bfloat16).

    python benchmarks/planning_memory.py calibration --output benchmarks/results/planning_calibration_cpu.json
    python benchmarks/planning_memory.py plans --output benchmarks/results/planning_plans_cpu.json
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from memory import peak_memory
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from rich.console import Console
from rich.table import Table
from training_step import environment

from nnunet_ext.planning.planner import GIGABYTE, MethodPlanner
from nnunet_ext.planning.training_step import TrainingStep, step_cost
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.testing import Case
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
)

METHODS = (
    ModalityPairingTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNTrainer,
    BiFPNClassifierTrainer,
    NestedUNetTrainer,
    NestedUNetClassifierTrainer,
    AttentionFusionTrainer,
)
PATCHES = ((24, 24, 24), (32, 32, 32), (40, 40, 40), (48, 48), (96, 96), (128, 128))
DATASET = "Dataset137_BraTS"  # shapes and spacing of BraTS, no images


def write_description(root: Path) -> None:
    """What nnU-Net's planner reads of a dataset: description and fingerprint, and one case without content."""
    raw, preprocessed = root / "raw" / DATASET, root / "preprocessed" / DATASET
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True)
    description = {
        "channel_names": {str(i): name for i, name in enumerate(("T1", "T1ce", "T2", "FLAIR"))},
        "labels": {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]},
        "regions_class_order": [2, 1, 3],
        "numTraining": 484,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    (raw / "labelsTr" / "case.nii.gz").touch()
    for channel in range(4):
        (raw / "imagesTr" / f"case_000{channel}.nii.gz").touch()
    fingerprint = {
        "spacings": [[1.0] * 3],
        "shapes_after_crop": [[140, 171, 137]],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 0.27,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    os.environ.update(nnUNet_raw=str(raw.parent), nnUNet_preprocessed=str(preprocessed.parent))


def planned_for(patch: Sequence[int], base: int, batch: int) -> dict[str, Any]:
    """Plans as nnU-Net would write them for this patch at isotropic spacing."""
    dimension = len(patch)
    _, strides, kernels, _, _ = get_pool_and_conv_props([1.0] * dimension, patch, 4, 999999)
    plans = Case(dimension=dimension, patch_size=tuple(patch), strides=strides, kernel_sizes=kernels, base=base).plans
    plan = plans["configurations"].pop(f"{dimension}d")
    plan["batch_size"], plan["batch_dice"] = batch, True
    arguments = plan["architecture"]["arch_kwargs"]
    arguments["features_per_stage"] = [min(width, 10 * base) for width in arguments["features_per_stage"]]
    return plans | {"configurations": {"size": plan}}


def counted(
    trainer: type[nnUNetTrainer], plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], mixed: bool
) -> int:
    """Bytes held at the peak of a real training step, weights and optimizer state included."""
    torch.manual_seed(0)
    step = TrainingStep(trainer, plans, configuration=configuration, dataset_json=dataset_json, mixed_precision=mixed)
    step.passes()
    step.update()
    return step.fixed_bytes() + peak_memory(step.passes, torch.device("cpu"), step.weights())


def largest_difference_misordered(rows: Sequence[dict[str, Any]]) -> float:
    """How far apart two counts are at the most, as a share of the larger, that the estimates order the other way."""
    differences = [0.0]
    for a, b in combinations(rows, 2):
        if (a["estimated_bytes"] - b["estimated_bytes"]) * (a["counted_bytes"] - b["counted_bytes"]) < 0:
            larger = max(a["counted_bytes"], b["counted_bytes"])
            differences.append(abs(a["counted_bytes"] - b["counted_bytes"]) / larger)
    return max(differences)


def calibrate(dataset_json: dict[str, Any], base: int, batch: int) -> list[dict[str, Any]]:
    """Estimate and count of every network, size and precision; the plain U-Net's first."""
    rows = []
    for trainer in (nnUNetTrainer, *METHODS):
        for patch in PATCHES:
            plans = planned_for(patch, base, batch)
            for mixed in (False, True):
                estimate = step_cost(
                    trainer, plans, configuration="size", dataset_json=dataset_json, mixed_precision=mixed
                ).memory
                count = counted(trainer, plans, configuration="size", dataset_json=dataset_json, mixed=mixed)
                rows.append(
                    {
                        "trainer": trainer.__name__,
                        "patch": list(patch),
                        "precision": "mixed" if mixed else "float32",
                        "estimated_bytes": estimate,
                        "counted_bytes": count,
                        "ratio": estimate / count,
                    }
                )
                print(rows[-1], flush=True)
    return rows


def fill(target: float, base: int, count: bool) -> list[dict[str, Any]]:
    """Plans of every method for a memory target, and the share that tensors fill: estimated and, if asked, counted."""
    rows = []
    for trainer in METHODS:
        planner = MethodPlanner(
            DATASET, trainer, plans_name="Plans", settings={}, gpu_memory=target, base_num_features=base
        )
        plans = planner.plan_experiment()
        for configuration in plans["configurations"]:
            plan = resolved_configuration(plans, configuration)
            row = {
                "trainer": trainer.__name__,
                "configuration": configuration,
                "target_gb": target,
                "base": base,
                "patch": plan["patch_size"],
                "batch": plan["batch_size"],
                "estimated_share": step_cost(trainer, plans, configuration, planner.dataset_json).memory
                / (target * GIGABYTE),
            }
            if count:
                memory = counted(trainer, plans, configuration, planner.dataset_json, mixed=True)
                row["counted_share"] = memory / (target * GIGABYTE)
            rows.append(row)
            print(rows[-1], flush=True)
    return rows


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print rows that have the same keys as a table."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else f"{v}" for v in row.values()))
    Console(width=140).print(table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["calibration", "plans", "published"], help="published: estimated only")
    parser.add_argument("--base", type=int, default=8, help="features of the first stage; 32 for published")
    parser.add_argument("--batch", type=int, default=2, help="batch of the calibration")
    parser.add_argument("--target", type=float, default=0.1, help="GB that are planned for")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_description(Path(folder))
        dataset_json = json.loads((Path(folder) / "raw" / DATASET / "dataset.json").read_text())
        if arguments.part == "calibration":
            rows = calibrate(dataset_json, arguments.base, arguments.batch)
        elif arguments.part == "plans":
            rows = fill(arguments.target, arguments.base, count=True)
        else:
            rows = fill(arguments.target, 32, count=False)
    show(rows, arguments.part)
    report: dict[str, Any] = {
        "counted": "tensor bytes on the CPU; nothing here was measured on a GPU",
        "settings": {k: v for k, v in vars(arguments).items() if k != "output"},
        "environment": environment(torch.device("cpu")),
        "rows": rows,
    }
    if arguments.part == "calibration":
        report["largest_difference_misordered"] = {
            f"{dimension}d, {precision}": largest_difference_misordered(
                [row for row in rows if len(row["patch"]) == dimension and row["precision"] == precision]
            )
            for dimension in (2, 3)
            for precision in ("float32", "mixed")
        }
        print("Largest difference between two counts in another order:", report["largest_difference_misordered"])
    if arguments.output:
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
