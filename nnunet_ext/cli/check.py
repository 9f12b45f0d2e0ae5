"""``nnunet_ext check``: images before a prediction or a training."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_ext.cli.options import Json, NumProcesses, raw_folder
from nnunet_ext.errors import UserError
from nnunet_ext.tables import print_table, text_table

if TYPE_CHECKING:
    from nnunet_ext.checking.folder import FolderCheck
    from nnunet_ext.checking.training_files import TrainingFiles

app = typer.Typer()


@app.command()
def check(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images to predict, or an imagesTr.")],
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Dataset ID or name that they are meant for.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("-m", "--model", help="Instead: folder of a trained model, as for nnU-Net's -m.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")] = False,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Read all images and say what is wrong: damaged files, other grids, swapped channels. Exit code 1 for errors."""
    from nnunet_ext.checking.folder import check_folder

    if (dataset is None) == (model is None):
        raise UserError("Give either the data set (-d 137) or a trained model (-m FOLDER).")
    files = _of_model(model) if model is not None else _of_dataset(str(dataset))
    found = check_folder(images.absolute(), files, num_processes)
    _print(found, as_json)
    if found.of("error") or (strict and found.of("warning")):
        raise typer.Exit(1)


def _of_dataset(dataset: str) -> "TrainingFiles":
    from nnunet_ext.checking.training_files import of_dataset
    from nnunet_ext.planning.dataset_folder import find_dataset

    raw = find_dataset(raw_folder(), dataset)
    return of_dataset(raw, Path(os.environ.get("nnUNet_preprocessed", ""), raw.name))


def _of_model(folder: Path) -> "TrainingFiles":
    from nnunet_ext.checking.training_files import of_model

    raw = os.environ.get("nnUNet_raw")
    return of_model(folder, Path(raw) if raw else None)


def _print(found: "FolderCheck", as_json: bool) -> None:
    rows = [
        [case or "-", finding.severity, finding.kind, finding.message.replace(f"{found.folder}{os.sep}", "")]
        for case, findings in found.cases.items()
        for finding in findings
    ]
    numbers = {severity: len(found.of(severity)) for severity in ("error", "warning")}
    counted = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for word, number in numbers.items())
    cases = len([case for case in found.cases if case])
    result = f"{cases} cases, {found.num_files} files in {found.folder}: {counted}."
    table = text_table(["case", "", "what", "in full"], rows, num_left=4)
    print_table(table, found.as_json(), as_json, [*(f"Note: {note}" for note in found.notes), result])
