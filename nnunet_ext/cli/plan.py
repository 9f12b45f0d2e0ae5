"""``nnunet_ext plan``: plans with a method's settings, or planned for its network."""

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnunet_ext.cli.options import Json
from nnunet_ext.shells import command_line
from nnunet_ext.tables import print_json, print_table

if TYPE_CHECKING:
    from nnunet_ext.planning.plans_file import PlansFile

app = typer.Typer()


@app.command()
def plan(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Dataset ID or name, as for nnU-Net.")],
    trainer: Annotated[str, typer.Option("-tr", "--trainer", help="Trainer whose settings are set.")],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Name of the new plans, for -p of nnU-Net's commands. Default: nnUNetExt<Method>Plans and a part that "
            "tells memory target and settings apart, the same for the same choices.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings of the trainer (values as JSON), and patch_size, batch_size, base_num_features.",
        ),
    ] = None,
    plans: Annotated[
        str,
        typer.Option(
            "-p",
            "--plans",
            help="Plans to start from; with --gpu-memory or --paper those whose kind of network is planned anew: "
            "nnU-Net's default, or a residual-encoder preset.",
        ),
    ] = "nnUNetPlans",
    configuration: Annotated[
        list[str] | None,
        typer.Option("-c", "--configuration", help="Configuration that patch_size and the like apply to. Repeatable."),
    ] = None,
    gpu_memory: Annotated[
        float | None,
        typer.Option(
            "--gpu-memory", help="Plan anew: patch and batch of this trainer's network for so many GB.", min=0
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Plan anew, with the patch and batch that the publication trains with."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace plans of this name that differ.")] = False,
    as_json: Json = False,
) -> None:
    """Write plans with settings of a method, or planned for its network, to be used with -p."""
    if gpu_memory is not None or paper:
        _plan_for_network(
            dataset,
            trainer,
            output=output,
            assignments=assignments or [],
            gpu_memory=gpu_memory,
            paper=paper,
            configurations=configuration or [],
            overwrite=overwrite,
            plans=plans,
            as_json=as_json,
        )
        return
    from nnunet_ext.planning.command import write_method_plans

    written = write_method_plans(
        dataset,
        trainer,
        output=output,
        assignments=assignments or [],
        plans=plans,
        configurations=configuration or [],
        overwrite=overwrite,
    )
    if as_json:
        print_json(_content(written.file, written.notes))
    for line in [*written.notes, *_next_steps(written.file, dataset, trainer)]:
        print(line, file=sys.stderr if as_json else sys.stdout)


def _plan_for_network(
    dataset: str,
    trainer: str,
    output: str | None,
    assignments: list[str],
    gpu_memory: float | None,
    paper: bool,
    configurations: list[str],
    overwrite: bool,
    plans: str,
    as_json: bool,
) -> None:
    from nnunet_ext.planning.dataset_folder import dataset_number
    from nnunet_ext.planning.memory_command import write_memory_plans
    from nnunet_ext.planning.memory_share import read_memory_share
    from nnunet_ext.planning.memory_table import memory_records, memory_table

    planned = write_memory_plans(
        dataset,
        trainer,
        output=output,
        assignments=assignments,
        gpu_memory=gpu_memory,
        paper=paper,
        configurations=configurations,
        overwrite=overwrite,
        plans=plans,
    )
    name = planned.file.path.stem
    lines = [
        f"Memory is that of all tensors, counted without a GPU. They may fill {read_memory_share()} of the target; "
        "kernels' workspace comes on top (docs/planning.md).",
        *planned.notes,
    ]
    for data in planned.data:
        if data.plans == name or not data.preprocessed:
            number = dataset_number(planned.file.path.parent.name)
            what = f"preprocess first: nnUNetv2_preprocess -d {number} -plans_name {data.plans} -c {data.source}"
        else:
            what = f"reuses the preprocessed data of {data.plans} {data.source} ({data.data_identifier})"
        lines.append(f"{data.configuration}: {what}")
    content = _content(planned.file, planned.notes) | {
        "steps": memory_records(planned.rows),
        "data": [asdict(data) for data in planned.data],
        "warnings": planned.warnings,
    }
    lines += _next_steps(planned.file, dataset, trainer)
    print_table(memory_table(planned.rows, planned.gpu_memory), content, as_json, lines)
    for warning in planned.warnings:
        print(f"Warning: {warning}", file=sys.stderr)


def _content(file: "PlansFile", notes: list[str]) -> dict[str, Any]:
    """What ``--json`` says of the plans."""
    return {"plans": file.path.stem, "file": file.path, "is_new": file.is_new, "notes": notes}


def _next_steps(file: "PlansFile", dataset: str, trainer: str) -> list[str]:
    train = ["nnUNetv2_train", dataset, "CONFIGURATION", "FOLD", "-tr", trainer, "-p", file.path.stem]
    return [
        f"Wrote {file.path}" if file.is_new else f"Kept {file.path}, which says this already",
        f"Train with: {command_line(train, os.environ)}",
    ]
