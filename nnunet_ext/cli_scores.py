"""The commands around training: conversion, scores, post-processing and the report; ``cli`` adds them to the others.

As there, commands import what they need when they run.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from nnunet_ext.errors import UserError

app = typer.Typer()
convert = typer.Typer(help="Data sets as they are distributed, to nnU-Net's raw format and back.", no_args_is_help=True)
app.add_typer(convert, name="convert")
postprocess = typer.Typer(help="Post-processing that nnUNetv2_apply_postprocessing applies.", no_args_is_help=True)
app.add_typer(postprocess, name="postprocess")

NumProcesses = Annotated[
    int | None,
    typer.Option("-np", "--num-processes", min=1, help="Parallel processes; default: processors, at most 8."),
]
DatasetJson = Annotated[
    Path | None, typer.Option("--dataset-json", help="dataset.json; default: looked for in and above the folders.")
]
HD95 = Annotated[
    Literal["pooled", "directed"],
    typer.Option("--hd95", help="pooled: MedPy's (nnU-Net v1). directed: surface-distance's (BraTS 2023)."),
]
Convention = Annotated[
    Literal["brats2020", "brats2018", "nan"] | None,
    typer.Option(
        "--convention",
        help="What empty regions count: brats2020 (both empty: Dice 1, HD95 0; one empty: 0 and 373.12866 mm), "
        "brats2018 (HD95 left out), nan (nnU-Net's: both empty left out). "
        "Default: brats2020 for data sets with the BraTS regions, else nan.",
    ),
]


@convert.command("brats")
def convert_brats_command(
    source: Annotated[Path, typer.Argument(help="Folder of BraTS cases (2018 to 2023 and later), nested or flat.")],
    dataset: Annotated[int, typer.Option("-d", "--dataset", help="Number of the new data set, 1 to 999.")],
    name: Annotated[str, typer.Option("--name", help="Its name after DatasetXXX_.")] = "BraTS",
    enhancing_label: Annotated[
        int | None, typer.Option("--enhancing-label", help="3 or 4, where names and labels contradict each other.")
    ] = None,
    num_processes: NumProcesses = None,
) -> None:
    """Convert BraTS to nnU-Net's raw format with its three regions; run again to complete an interrupted conversion."""
    from nnunet_ext.datasets.brats import convert_brats

    raw = os.environ.get("nnUNet_raw")
    if not raw:
        raise UserError("The environment variable nnUNet_raw is not set. Type: export nnUNet_raw=FOLDER")
    result = convert_brats(source, Path(raw), dataset, name, enhancing_label, num_processes)
    if result.scheme is not None:
        print(f"Enhancing tumour: label {result.scheme.enhancing} ({result.scheme.reason}), converted to 3")
    there = f" ({result.num_already_there} were there)" if result.num_already_there else ""
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

    written = convert_brats_labels(source, output, style, dataset_json, num_processes)
    print(f"Wrote {len(written)} files to {output}")


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Folder of reference label images, for example labelsTr.")],
    prediction: Annotated[Path, typer.Argument(help="Folder of predictions with the same file names.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    convention: Convention = None,
    hd95: HD95 = "pooled",
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of images; adds overlays of best, median and worst case.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Other predictions of the same cases; adds paired differences.")
    ] = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Score the predicted cases alone, for one fold.")
    ] = False,
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
) -> None:
    """Score predictions: Dice, sensitivity, specificity, HD95, volumes; a CSV row a case and region, tables, plots."""
    from nnunet_ext.evaluation.evaluate import evaluate_folders
    from nnunet_ext.evaluation.markdown import format_number, measured_how
    from nnunet_ext.evaluation.summary import METRICS, heading

    result = evaluate_folders(
        reference,
        prediction,
        output,
        dataset_json=dataset_json,
        convention=convention,
        hd95_definition=hd95,
        images=images,
        other=compare,
        only_predicted=only_predicted,
        num_processes=num_processes,
    )
    table = Table(title="Means over the cases", caption="\n".join(measured_how(result.summary)), caption_justify="left")
    table.add_column("region")
    for metric in METRICS:
        table.add_column(heading(metric, hd95), justify="right")
    for name, region in result.summary["regions"].items():
        table.add_row(name, *(format_number(region["metrics"][metric]["mean"]) for metric in METRICS))
    Console().print(table)
    print(f"Wrote {', '.join(sorted(path.name for path in output.iterdir()))} in {output}")


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
        hd95_definition=hd95,
        num_processes=num_processes,
    )
    print(f"Wrote {output} about {', '.join(model.name for model in models)}")


@postprocess.command("determine")
def determine_command(
    prediction: Annotated[Path, typer.Argument(help="Folder of cross-validation predictions of all cases.")],
    reference: Annotated[Path, typer.Argument(help="Folder of references.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="postprocessing.pkl to write.")],
    convention: Convention = None,
    thresholds: Annotated[
        str | None, typer.Option("--thresholds", help="Thresholds to try in voxels, for example 5,10,50,200.")
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="REGION=LABEL",
            help="Label that a region gets where it is small. Repeatable. Default: innermost regions, and the label "
            "around them (enhancing tumour: necrosis).",
        ),
    ] = None,
    connectivity: Annotated[int, typer.Option("--connectivity", help="6, 18 or 26.")] = 26,
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
) -> None:
    """Search thresholds for removing small components and small regions, by mean Dice."""
    from nnunet_ext.postprocessing.determine import determine_postprocessing, parse_replacements, parse_thresholds

    result = determine_postprocessing(
        prediction,
        reference,
        output,
        dataset_json=dataset_json,
        convention=convention,
        thresholds=parse_thresholds(thresholds),
        connectivity=connectivity,
        replacements=parse_replacements(replace),
        num_processes=num_processes,
    )
    for curve in result.curves:
        rule = f"{curve.rule.function.__name__} ({curve.rule.region.name})"
        score, best = curve.scores[0], curve.scores[1:].max()
        if curve.best is None:
            print(
                f"refused  {rule}: no threshold improves the mean Dice ({score:.4f} without, at best {best:.4f} with)"
            )
        else:
            changed = curve.cases_changed[curve.thresholds.index(curve.best)]
            print(f"applied  {rule} below {curve.best} voxels: {score:.4f} to {best:.4f}, {changed} cases change")
    print(f"Mean Dice ({result.convention}): {result.before:.4f} before, {result.after:.4f} after. Wrote {output}")
