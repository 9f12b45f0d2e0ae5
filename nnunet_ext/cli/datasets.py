"""``nnunet_ext convert``: data sets as they are distributed, to nnU-Net's raw format and back."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from nnunet_ext.cli.options import DatasetJson, NumProcesses, raw_folder

app = typer.Typer()
convert = typer.Typer(help="Data sets as they are distributed, to nnU-Net's raw format and back.", no_args_is_help=True)
app.add_typer(convert, name="convert")


@convert.command("brats")
def convert_brats_command(
    source: Annotated[Path, typer.Argument(help="Folder of BraTS cases (2013 to 2023 and later), nested or flat.")],
    dataset: Annotated[int, typer.Option("-d", "--dataset", help="Number of the new data set, 1 to 999.")],
    name: Annotated[str, typer.Option("--name", help="Its name after DatasetXXX_.")] = "BraTS",
    enhancing_label: Annotated[
        int | None, typer.Option("--enhancing-label", help="3 or 4, where names and labels contradict each other.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Take cases that lack modalities, as `nnunet_ext complete` does.")
    ] = False,
    num_processes: NumProcesses = None,
) -> None:
    """Convert BraTS to nnU-Net's raw format with its three regions; run again to complete an interrupted conversion."""
    from nnunet_ext.datasets.brats import convert_brats

    raw = raw_folder()
    result = convert_brats(
        source,
        raw,
        dataset_id=dataset,
        name=name,
        enhancing=enhancing_label,
        num_processes=num_processes,
        allow_missing=allow_missing,
    )
    if result.scheme is not None:
        print(f"Enhancing tumour: label {result.scheme.enhancing} ({result.scheme.reason}), converted to 3")
    for warning in result.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    there = (
        f" ({result.num_already_there} were there, by size and modification time of their images)"
        if result.num_already_there
        else ""
    )
    print(f"Wrote {result.num_cases} cases{there} to {result.folder}")


@convert.command("brats-labels")
def convert_brats_labels_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of predictions.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    style: Annotated[
        Literal["2020", "2023"], typer.Option("--style", help="2020: enhancing tumour 4. 2023: enhancing tumour 3.")
    ],
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
) -> None:
    """Turn predictions of a BraTS data set into the label values of the challenge."""
    from nnunet_ext.datasets.brats_labels import convert_brats_labels

    written = convert_brats_labels(source, output, style=style, dataset_json=dataset_json, num_processes=num_processes)
    print(f"Wrote {len(written)} files to {output}")
