"""The ``nnunet_ext`` command line.

Commands import what they need when they run: ``nnunet_ext path`` is in users' start-up files and must not wait for
nnU-Net.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nnunet_ext import cli_scores, cli_workflow
from nnunet_ext.errors import UserError

app = typer.Typer(
    help="Multi-modal MR segmentation methods as nnU-Net v2 trainers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(cli_scores.app)
app.add_typer(cli_workflow.app)


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 1."""
    try:
        app()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


@app.command()
def path() -> None:
    """Print the value for nnUNet_extTrainer: export nnUNet_extTrainer="$(nnunet_ext path)"."""
    from nnunet_ext.doctor import extended_search_path

    print(extended_search_path(os.environ))


@app.command("list")
def list_trainers() -> None:
    """List the trainers: name for -tr, paper, and what each adds."""
    from nnunet_ext.trainers import TRAINERS

    table = Table()
    table.add_column("trainer", no_wrap=True)
    table.add_column("paper")
    table.add_column("what it adds")
    for trainer in TRAINERS:
        table.add_row(trainer.__name__, trainer.paper, trainer.adds)
    Console().print(table)


@app.command()
def doctor() -> None:
    """Check that nnU-Net finds the trainers; say what to type where it does not. Exit code 1 if a check fails."""
    from nnunet_ext.doctor import run_checks

    passed = True
    for check in run_checks(os.environ):
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.detail}")
        if not check.passed:
            passed = False
            for line in check.remedy:
                print(f"        {line}")
    if not passed:
        raise typer.Exit(1)


@app.command()
def plan(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Dataset ID or name, as for nnU-Net.")],
    trainer: Annotated[str, typer.Option("-tr", "--trainer", help="Trainer whose settings are set.")],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Name of the new plans, for -p of nnU-Net's commands. With --gpu-memory or --paper it can be left "
            "out: nnUNetExt<Method>Plans, nnUNetExt<Method>PaperPlans.",
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
        str, typer.Option("-p", "--plans", help="Plans to start from, where nothing is planned anew.")
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace plans of this name.")] = False,
) -> None:
    """Write plans with settings of a method, or planned for its network, to be used with -p."""
    if gpu_memory is not None or paper:
        if plans != "nnUNetPlans":
            raise UserError("-p names plans to start from; --gpu-memory and --paper plan anew.")
        _plan_for_network(
            dataset, trainer, output, assignments or [], gpu_memory, paper, configuration or [], overwrite
        )
        return
    from nnunet_ext.planning.command import write_method_plans

    if output is None:
        raise UserError("-o names the new plans; only with --gpu-memory or --paper it can be left out.")
    file = write_method_plans(dataset, trainer, output, assignments or [], plans, configuration or [], overwrite)
    print(f"Wrote {file}")
    print(f"Train with: nnUNetv2_train {dataset} CONFIGURATION FOLD -tr {trainer} -p {output}")


def _plan_for_network(
    dataset: str,
    trainer: str,
    output: str | None,
    assignments: list[str],
    gpu_memory: float | None,
    paper: bool,
    configurations: list[str],
    overwrite: bool,
) -> None:
    from nnunet_ext.planning.memory_command import write_memory_plans
    from nnunet_ext.planning.memory_table import memory_table

    planned = write_memory_plans(dataset, trainer, output, assignments, gpu_memory, paper, configurations, overwrite)
    name = planned.file.stem
    Console().print(memory_table(planned.rows, planned.gpu_memory))
    print("Memory is that of all tensors, counted without a GPU; kernels' workspace comes on top (docs/planning.md).")
    for data in planned.data:
        if data.plans == name or not data.preprocessed:
            what = f"preprocess first: nnUNetv2_preprocess -d {dataset} -plans_name {data.plans} -c {data.source}"
        else:
            what = f"reuses the preprocessed data of {data.plans} {data.source} ({data.data_identifier})"
        print(f"{data.configuration}: {what}")
    for warning in planned.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    print(f"Wrote {planned.file}")
    print(f"Train with: nnUNetv2_train {dataset} CONFIGURATION FOLD -tr {trainer} -p {name}")


@app.command()
def strip(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model: TRAINER__PLANS__CONFIGURATION.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist.")],
) -> None:
    """Copy a trained model without training-only weights and optimizer state; it predicts the same."""
    from nnunet_ext.strip import strip_model

    for file, before, after in strip_model(model, output):
        print(f"{file}: {before / 1e6:.1f} MB -> {after / 1e6:.1f} MB")
    print(f"Predict with: nnUNetv2_predict_from_modelfolder -m {output} -i IN -o OUT")


@app.command()
def attention(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION folder.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="One file a modality, in channel order.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG to write.")],
    fold: Annotated[str | None, typer.Option("-f", "--fold", help="Fold; the first there is if not given.")] = None,
    checkpoint: Annotated[str, typer.Option("-chk", "--checkpoint", help="Checkpoint.")] = "checkpoint_final.pth",
    slice_index: Annotated[
        int | None, typer.Option("--slice", help="Slice of the preprocessed image; by default the largest prediction.")
    ] = None,
    device: Annotated[str, typer.Option("-device", "--device", help="cuda or cpu.")] = "cuda",
) -> None:
    """Draw the attention maps of every level over a case, for a trained model of the attention fusion family."""
    import torch

    from nnunet_ext.evaluation.attention_figure import draw_attention
    from nnunet_ext.evaluation.attention_maps import attention_of_case, load_attention_model

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("There is no GPU; add --device cpu.")
    trained = load_attention_model(model, fold, checkpoint)
    drawn = draw_attention(attention_of_case(trained, images, torch.device(device)), output, slice_index)
    print(f"Wrote {output} (slice {drawn})")


if __name__ == "__main__":
    main()
