"""Commands for whole experiments: ``nnunet_ext workflow``, and the steps that its Snakemake workflow runs."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from nnunet_ext.cli.options import Json, NumProcesses
from nnunet_ext.errors import UserError

app = typer.Typer()
steps = typer.Typer(help="Steps of the workflow that nnU-Net has no command for.", no_args_is_help=True)
app.add_typer(steps, name="step", hidden=True)

Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="Command to run.")]


@app.command()
def workflow(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Dataset ID or name, as for nnU-Net.")],
    trainer: Annotated[list[str], typer.Option("-tr", "--trainer", help="Trainer, ours or nnU-Net's. Repeatable.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the workflow and its results.")],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings as for `nnunet_ext plan`, for each trainer of ours, or TRAINER:KEY=VALUE.",
        ),
    ] = None,
    configuration: Annotated[
        list[str] | None, typer.Option("-c", "--configuration", help="Repeatable. Default: 3d_fullres.")
    ] = None,
    fold: Annotated[list[int] | None, typer.Option("-f", "--fold", help="Repeatable. Default: 0 to 4.")] = None,
    plans: Annotated[str, typer.Option("-p", "--plans", help="Plans to make, or to start from.")] = "nnUNetPlans",
    planner: Annotated[str, typer.Option("-pl", "--planner", help="nnU-Net's planner.")] = "ExperimentPlanner",
    preprocessed: Annotated[
        bool, typer.Option("--preprocessed", help="Plans and preprocessed data are there: use them as they are.")
    ] = False,
    device: Annotated[Literal["cuda", "cpu", "mps"], typer.Option("-device", help="As for nnU-Net.")] = "cuda",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="GPU jobs at a time on this machine.")] = 1,
    images: Annotated[
        Path | None, typer.Option("-i", "--images", help="Images to predict. Default: imagesTs of the data set.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Their label images. Default: labelsTs for imagesTs.")
    ] = None,
    study: Annotated[
        bool,
        typer.Option("--study", help="Compare the trainers with plain nnU-Net at equal steps instead of choosing."),
    ] = False,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Of a study. Repeatable. Default: 0, 1 and 2.")
    ] = None,
    equal_time: Annotated[
        Path | None,
        typer.Option(
            "--equal-time",
            metavar="RESULTS_YAML",
            help="Of a study: every trainer trains as long as plain nnU-Net does in num_epochs, by the seconds a step "
            "in the results.yaml of an earlier study at equal steps on the same kind of machine.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier call.")] = False,
) -> None:
    """Write a Snakemake workflow: plan, preprocess, train all folds, choose, predict, post-process, score, report."""
    from nnunet_ext.shells import command_line
    from nnunet_ext.workflow.write import WorkflowChoices, write_workflow

    choices = WorkflowChoices(
        dataset=dataset,
        trainers=trainer,
        configurations=configuration or ("3d_fullres",),
        folds=fold or (0, 1, 2, 3, 4),
        assignments=assignments or (),
        plans=plans,
        planner=planner,
        run_planning=not preprocessed,
        device=device,
        num_gpus=gpus,
        images=images,
        reference=reference,
        study=study,
        seeds=seed or ((0, 1, 2) if study else ()),
        equal_time=equal_time,
        command=shlex.join(["nnunet_ext", *sys.argv[1:]]),
    )
    for file in write_workflow(output, choices, os.environ, overwrite):
        print(f"Wrote {file}")
    print(f"Look:  {command_line(['cd', output], os.environ)} && snakemake -n")
    print("Run:   snakemake        (SLURM: snakemake --workflow-profile profiles/slurm)")


@steps.command()
def split(
    dataset: Annotated[str, typer.Argument(help="Dataset ID or name.")],
    plans: Annotated[str, typer.Option("-p", "--plans", help="Plans whose data is preprocessed.")] = "nnUNetPlans",
) -> None:
    """Write nnU-Net's five-fold split before trainings start together; a split that is there stays."""
    from nnunet_ext.workflow.crossval_split import write_split

    file, new = write_split(dataset, plans)
    print(f"{'Wrote' if new else 'Kept'} {file}")


@steps.command()
def train(folder: Annotated[Path, typer.Argument(help="Fold's folder in nnUNet_results.")], command: Command) -> None:
    """Run nnUNetv2_train with --c to continue, or --val when the training has ended; one process a fold."""
    from nnunet_ext.workflow.fold_training import prepare_fold

    options, notes = prepare_fold(folder)
    for note in notes:
        print(note)
    _become([*command, *options])


@steps.command("on-gpu")
def on_gpu(
    command: Command,
    devices: Annotated[str, typer.Option("--devices", help="GPUs of this machine to choose from, for example 0,1,3.")],
    number: Annotated[int, typer.Option("--number", min=1, help="GPUs that the command needs.")] = 1,
) -> None:
    """Wait for free GPUs, and run a command that sees no others."""
    from nnunet_ext.workflow.gpu_slots import wait_for_gpus

    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, wait_for_gpus(_numbers(devices), number)))
    _become(command)


@steps.command()
def best(
    dataset: Annotated[str, typer.Argument(help="Dataset ID or name.")],
    models: Annotated[list[str], typer.Argument(help="Models: TRAINER__PLANS__CONFIGURATION.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    folds: Annotated[str, typer.Option("-f", "--folds", help="Folds, separated by commas.")] = "0,1,2,3,4",
    ensembling: Annotated[bool, typer.Option(help="Whether pairs of models compete too.")] = True,
    num_processes: Annotated[int, typer.Option("-np", "--num-processes", min=1, help="Parallel processes.")] = 8,
) -> None:
    """Search the best configuration as nnUNetv2_find_best_configuration does, among these models only."""
    from nnunet_ext.workflow.best_configuration import write_best_configuration

    chosen = write_best_configuration(
        dataset, models, folds=_numbers(folds), output=output, ensembling=ensembling, num_processes=num_processes
    )
    print("Best:", " and ".join(chosen))


@steps.command()
def study(
    models: Annotated[list[Path], typer.Argument(help="Model folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    command: Annotated[str, typer.Option("--command", help="Command line that made the study, for the rows.")] = "",
    equal_time: Annotated[bool, typer.Option("--equal-time", help="Steps may differ: times were to be equal.")] = False,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Compare trained models at equal steps or equal wall time: results.yaml, study.md, curves.png."""
    from nnunet_ext.study.write import budget_words, score_cells, write_study
    from nnunet_ext.tables import print_table, text_table

    rows = write_study(models, output, command, num_processes=num_processes, equal_time=equal_time)
    headings, cells = score_cells(rows)
    print_table(
        text_table(headings, cells, title=f"{rows[0]['dataset']}, {budget_words(rows)}", num_left=3),
        rows,
        as_json,
        [f"Wrote {', '.join(sorted(path.name for path in output.iterdir()))} in {output}"],
    )


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"'{text}' is not a list of numbers such as 0,1,2.") from None


def _become(command: list[str]) -> NoReturn:
    """Turn this process into a command, which keeps its locks."""
    print(shlex.join(command), flush=True)
    os.execvp(command[0], command)
