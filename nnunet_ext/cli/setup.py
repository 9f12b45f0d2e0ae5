"""Commands that let nnU-Net find the trainers and show them: ``path``, ``list``, ``doctor``."""

import os

import typer
from rich.console import Console

from nnunet_ext.tables import text_table

app = typer.Typer()


@app.command()
def path() -> None:
    """Print the value for nnUNet_extTrainer: export nnUNet_extTrainer="$(nnunet_ext path)"."""
    from nnunet_ext.trainer_search import extended_search_path

    print(extended_search_path(os.environ))


@app.command("list")
def list_trainers() -> None:
    """List the trainers: name for -tr, paper, and what each adds."""
    from nnunet_ext.trainers import TRAINERS

    rows = [[trainer.__name__, trainer.paper, trainer.adds] for trainer in TRAINERS]
    Console().print(text_table(["trainer", "paper", "what it adds"], rows, num_left=3))


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
