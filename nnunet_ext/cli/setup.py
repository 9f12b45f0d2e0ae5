"""Commands that let nnU-Net find the trainers and show them: ``path``, ``list``, ``doctor``."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from nnunet_ext.cli.options import Json
from nnunet_ext.progress import steps
from nnunet_ext.tables import print_json, print_table, text_table

app = typer.Typer()


@app.command()
def path() -> None:
    """Print the value for nnUNet_extTrainer: export nnUNet_extTrainer="$(nnunet_ext path)"."""
    from nnunet_ext.trainer_search import extended_search_path

    print(extended_search_path(os.environ))


@app.command("list")
def list_trainers(
    long: Annotated[bool, typer.Option("--long", help="Also say what each adds, a row a trainer.")] = False,
    as_json: Json = False,
) -> None:
    """List the trainers: names for -tr by paper, and with --long what each adds."""
    with steps("Loading nnU-Net") as begin:
        begin("")
        from nnunet_ext.trainers import TRAINERS

    if long:
        rows = [[trainer.__name__, trainer.paper, trainer.adds] for trainer in TRAINERS]
        table = text_table(["trainer", "paper", "what it adds"], rows, num_left=3)
    else:
        papers = dict.fromkeys(trainer.paper for trainer in TRAINERS)
        names = {paper: [trainer.__name__ for trainer in TRAINERS if trainer.paper == paper] for paper in papers}
        table = text_table(
            ["paper", "trainers, for -tr"], [[paper, ", ".join(names[paper])] for paper in papers], num_left=2
        )
    content = [{"trainer": trainer.__name__, "paper": trainer.paper, "adds": trainer.adds} for trainer in TRAINERS]
    print_table(table, content, as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check that nnU-Net finds the trainers; say what to type where it does not. Exit code 1 if a check fails."""
    from nnunet_ext.doctor import run_checks

    checks = []
    for check in run_checks(os.environ):
        checks.append(check)
        if as_json:
            continue
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.detail}", flush=True)
        for line in () if check.passed else check.remedy:
            print(f"        {line}")
    if as_json:
        print_json([asdict(check) for check in checks])
    if not all(check.passed for check in checks):
        raise typer.Exit(1)
