"""Commands for cases without some of their modalities: ``complete`` and ``subsets``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nnunet_ext.cli.options import Convention, Device, Json, NumProcesses, raw_folder, torch_device
from nnunet_ext.errors import UserError
from nnunet_ext.files.checkpoint import FINAL
from nnunet_ext.files.dataset_json import read_dataset_json
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.shells import command_line
from nnunet_ext.tables import print_table, text_table

app = typer.Typer()


@app.command()
def complete(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of images with incomplete cases.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, for -i of nnUNetv2_predict.")],
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Dataset ID or name: its channels and normalization.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("-m", "--model", help="Instead: folder of a trained model, as for nnU-Net's -m.")
    ] = None,
    plans: Annotated[
        str, typer.Option("-p", "--plans", help="With -d: plans whose normalization counts, where there are any.")
    ] = "nnUNetPlans",
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files that are there instead of linking.")] = False,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Make a folder with incomplete cases one that nnU-Net takes: images that mean "missing" in place of what lacks."""
    from nnunet_ext.missing_modalities.complete import complete_folder

    if (dataset is None) == (model is None):
        raise UserError("Give either the data set (-d 137) or a trained model (-m FOLDER).")
    dataset_json, content = _of_model(model) if model is not None else _of_dataset(str(dataset), plans)
    done = complete_folder(source, output, dataset_json, content, copy=copy, num_processes=num_processes)
    predict = command_line(["nnUNetv2_predict", "-i", output, "-o", "PREDICTIONS"], os.environ)
    lacks = {case: [name for name in done.names if name not in present] for case, present in done.incomplete.items()}
    print_table(
        text_table(["case", "lacks"], [[case, ", ".join(names)] for case, names in lacks.items()], num_left=2),
        {"cases": len(done.present), "lacking": lacks, "output": output},
        as_json,
        [
            f"{len(lacks)} of {len(done.present)} cases lacked a modality. Wrote {output}",
            f"Predict with: {predict} ...  (a model trained with modality_dropout)",
        ],
    )


@app.command()
def subsets(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="TRAINER__PLANS__CONFIGURATION folder.")],
    images: Annotated[Path, typer.Option("-i", "--images", help="Folder of images with all modalities.")],
    references: Annotated[Path, typer.Option("-r", "--references", help="Folder of their label images.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; an earlier call continues there.")],
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="NAMES", help="Modalities of a subset, for example T1ce,FLAIR. Repeatable."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Random orders of the modalities to estimate from, in place of all."),
    ] = None,
    fold: Annotated[list[str] | None, typer.Option("-f", "--fold", help="Repeatable. Default: all folds.")] = None,
    checkpoint: Annotated[str, typer.Option("-chk", "--checkpoint", help="Checkpoint.")] = FINAL,
    disable_tta: Annotated[bool, typer.Option("--disable_tta", help="No mirrored passes, as for nnU-Net.")] = False,
    convention: Convention = None,
    device: Device = "cuda",
    as_json: Json = False,
) -> None:
    """Predict from every subset of the modalities: a table of Dice, and what each modality is worth."""
    from nnunet_ext.missing_modalities.subset_scores import score_subsets
    from nnunet_ext.missing_modalities.subset_table import subset_cells
    from nnunet_ext.trained.loaded_model import PredictionChoices

    on = torch_device(device)
    choices = PredictionChoices(
        model=str(model.resolve()),
        folds=tuple(fold) if fold else None,
        checkpoint=checkpoint,
        mirroring=not disable_tta,
    )
    scores = score_subsets(
        choices,
        images=images,
        references=references,
        output=output,
        keep=[names.split(",") for names in keep or []],
        n_orders=sample,
        convention=convention,
        device=on,
    )
    headings, rows = subset_cells(scores)
    print_table(
        text_table(headings, rows, title="Mean Dice over the cases", num_left=len(scores.names)),
        read_json_object(output / "summary.json"),
        as_json,
        [f"Wrote {', '.join(sorted(path.name for path in output.iterdir() if path.is_file()))} in {output}"],
    )


def _of_model(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return read_dataset_json(folder), read_json_object(folder / "plans.json", ["configurations"])


def _of_dataset(dataset: str, plans: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The raw data set's ``dataset.json``, and its plans where it has been planned."""
    from nnunet_ext.planning.dataset_folder import find_dataset

    raw = raw_folder()
    folder = find_dataset(raw, dataset)
    planned = Path(os.environ.get("nnUNet_preprocessed", ""), folder.name, f"{plans}.json")
    return read_dataset_json(folder), read_json_object(planned, ["configurations"]) if planned.is_file() else None
