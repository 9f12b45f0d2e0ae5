"""What a training step of each trainer costs: memory and operations, estimated without running it.

Both are the planner's (docs/planning.md): bytes of all tensors alive in mixed precision, and multiplications and
additions of convolutions and matrix products. At nnU-Net's default size for BraTS and at the paper's own.

    python benchmarks/costs.py
    python tools/measured_tables.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from planning_memory import DATASET, METHODS, planned_for, write_description
from training_step import environment

from nnunet_ext.planning.training_step import step_cost

OUTPUT = Path(__file__).parent / "results" / "costs.json"
BASE = 32
DEFAULT = ((128, 128, 128), 2)  # what nnU-Net plans for BraTS


def cost(trainer: type[nnUNetTrainer], size: tuple[tuple[int, ...], int], dataset_json: dict[str, Any]) -> dict:
    """Memory and operations of a step."""
    patch, batch = size
    plans = planned_for(patch, BASE, batch)
    found = step_cost(trainer, plans, configuration="size", dataset_json=dataset_json, count_operations=True)
    return {
        "patch": list(patch),
        "batch": batch,
        "estimated_bytes": found.memory,
        "operations": found.operations,
        "parameters": found.parameters,
    }


def main() -> None:
    """Write the rows."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_description(Path(folder))
        dataset_json = json.loads((Path(folder) / "raw" / DATASET / "dataset.json").read_text())
        for trainer in (nnUNetTrainer, *METHODS):
            row: dict[str, Any] = {"trainer": trainer.__name__, "default": cost(trainer, DEFAULT, dataset_json)}
            if published := getattr(trainer, "published_size", None):
                row["published"] = cost(trainer, (published.patch_size, published.batch_size), dataset_json)
            rows.append(row)
            print(json.dumps(row), flush=True)
    report = {
        "estimated": "tensor bytes in mixed precision and counted operations; nothing here was measured on a GPU",
        "settings": {"base": BASE},
        "environment": environment(torch.device("cpu")),
        "rows": rows,
    }
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
