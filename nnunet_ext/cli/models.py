"""Commands on trained models: ``strip``, ``transfer``, ``attention``, ``slices``, ``report``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from nnunet_ext.cli.options import (
    HD95,
    NSD,
    Convention,
    Device,
    Json,
    Lesions,
    MatchDice,
    MinLesion,
    NumProcesses,
    Task,
    lesion_settings,
    torch_device,
)
from nnunet_ext.files.checkpoint import FINAL
from nnunet_ext.progress import steps
from nnunet_ext.shells import command_line
from nnunet_ext.tables import print_table, text_table

app = typer.Typer()


@app.command()
def strip(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model: TRAINER__PLANS__CONFIGURATION.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist, or be empty.")],
    as_json: Json = False,
) -> None:
    """Copy a trained model without training-only weights and optimizer state; it predicts the same."""
    from nnunet_ext.trained.strip import strip_model

    sizes = strip_model(model, output)
    predict = ["nnUNetv2_predict_from_modelfolder", "-m", output, "-i", "IN", "-o", "OUT"]
    cells = [[str(file.relative_to(output)), f"{old / 1e6:.1f}", f"{new / 1e6:.1f}"] for file, old, new in sizes]
    print_table(
        text_table(["checkpoint", "before [MB]", "after [MB]"], cells),
        [{"checkpoint": file, "bytes_before": old, "bytes_after": new} for file, old, new in sizes],
        as_json,
        [f"Wrote {output}", f"Predict with: {command_line(predict, os.environ)}"],
    )


@app.command()
def transfer(
    model: Annotated[
        Path, typer.Argument(metavar="SOURCE_MODEL", help="Folder of a trained model: TRAINER__PLANS__CONFIGURATION.")
    ],
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Data set to train on: ID or name, as for nnU-Net.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, for -pretrained_weights.")],
    plans: Annotated[str, typer.Option("-p", "--plans", help="Plans to train with.")] = "nnUNetPlans",
    trainer: Annotated[
        str | None, typer.Option("-tr", "--trainer", help="Trainer to train with; default: the model's own.")
    ] = None,
    configuration: Annotated[
        str | None, typer.Option("-c", "--configuration", help="Configuration to train; default: the model's own.")
    ] = None,
    fold: Annotated[
        str | None, typer.Option("-f", "--fold", help="Fold of the model; the first there is if not given.")
    ] = None,
    checkpoint: Annotated[str, typer.Option("-chk", "--checkpoint", help="Checkpoint of the model.")] = FINAL,
    as_json: Json = False,
) -> None:
    """Write a trained model's weights for a data set with other channels or labels, moved by their names."""
    from nnunet_ext.trained.transfer import transfer_weights
    from nnunet_ext.trained.transfer_table import HEADINGS

    written = transfer_weights(
        model,
        dataset,
        plans,
        output,
        trainer=trainer,
        configuration=configuration,
        fold=fold,
        checkpoint=checkpoint,
    )
    train = ["nnUNetv2_train", dataset, written.configuration, "FOLD", "-tr", written.trainer, "-p", plans]
    train += ["-pretrained_weights", str(output)]
    notes = [
        f"Wrote {output}",
        f"Train with: {command_line(train, os.environ)}",
    ]
    if written.heads_left_out:
        heads = (
            "nnU-Net takes no weights named .seg_layers. from any file: segmentation heads of its own networks, and a "
            "branch or classifier beside them, begin anew in every training with -pretrained_weights."
        )
        notes.insert(0, heads)
    print_table(
        text_table(HEADINGS, written.rows, num_left=len(HEADINGS)),
        [dict(zip(HEADINGS, row, strict=True)) for row in written.rows],
        as_json,
        notes,
    )


@app.command()
def attention(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION folder.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="One file a modality, in channel order.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG to write.")],
    fold: Annotated[str | None, typer.Option("-f", "--fold", help="Fold; the first there is if not given.")] = None,
    checkpoint: Annotated[str, typer.Option("-chk", "--checkpoint", help="Checkpoint.")] = FINAL,
    slice_index: Annotated[
        int | None, typer.Option("--slice", help="Slice of the preprocessed image; by default the largest prediction.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Label image of the case; adds its outline and the Dice.")
    ] = None,
    device: Device = "cuda",
) -> None:
    """Draw the attention maps of every level over a case, for a trained model of the attention fusion family."""
    from nnunet_ext.trained.attention_figure import draw_attention
    from nnunet_ext.trained.attention_maps import attention_of_case, load_attention_model

    on = torch_device(device)
    trained = load_attention_model(model, fold, checkpoint)
    with steps("Predicting") as begin:
        begin(images[0].name)
        case = attention_of_case(trained, images, on, reference)
    drawn = draw_attention(case, output, slice_index)
    print(f"Wrote {output} (slice {drawn})")
    if reference is not None:
        print(f"Dice, all classes as one: {case.dice(drawn):.3f} in the slice, {case.dice():.3f} in the case")


@app.command()
def slices(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION folder.")],
    images: Annotated[Path, typer.Option("-i", "--images", help="Folder of images, as for nnUNetv2_predict.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist, or be empty.")],
    fold: Annotated[list[str] | None, typer.Option("-f", "--fold", help="Repeatable. Default: all folds.")] = None,
    checkpoint: Annotated[str, typer.Option("-chk", "--checkpoint", help="Checkpoint.")] = FINAL,
    device: Device = "cuda",
) -> None:
    """Write what a slice classifier says of every slice, and what its gate removes, as CSV and figures."""
    from nnunet_ext.trained.loaded_model import PredictionChoices
    from nnunet_ext.trained.slices import TABLE, write_slices

    on = torch_device(device)
    choices = PredictionChoices(str(model.resolve()), folds=tuple(fold) if fold else None, checkpoint=checkpoint)
    for case, found in write_slices(choices, images, output, on).items():
        counts = ", ".join(
            f"{region} {emptied}" for region, emptied in zip(found.regions, found.emptied.sum(1), strict=True)
        )
        print(f"{case}  slices emptied by the gate: {counts}")
    print(f"Wrote {TABLE} and a figure a case in {output}")


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="Trained models' folders, or folders above them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")] = Path("report.html"),
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Folder of references; default: those nnU-Net validated with.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of images for overlays; default: imagesTr in nnUNet_raw.")
    ] = None,
    convention: Convention = None,
    hd95: HD95 = "pooled",
    lesions: Lesions = None,
    task: Task = None,
    match_dice: MatchDice = None,
    min_lesion_mm3: MinLesion = None,
    nsd: NSD = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option("--uncertainty", help="Folder of `nnunet_ext uncertainty` on validation cases: flagged cases."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="JSON file of `nnunet_ext calibrate`: reliability diagrams.")
    ] = None,
    num_processes: NumProcesses = None,
) -> None:
    """Write one HTML page about trained models: settings, learning curves, scores, overlays."""
    from nnunet_ext.report.page import write_report

    models = write_report(
        results,
        output,
        reference=reference,
        images=images,
        convention=convention,
        hd95_choice=hd95,
        lesions=lesion_settings(lesions, task, match_dice, min_lesion_mm3),
        nsd=nsd or [],
        uncertainty=uncertainty,
        calibration=calibration,
        num_processes=num_processes,
    )
    print(f"Wrote {output} about {', '.join(model.name for model in models)}")
