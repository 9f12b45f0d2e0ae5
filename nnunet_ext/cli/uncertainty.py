"""Commands on saved probabilities: ``uncertainty``, ``calibrate``, ``apply-calibration``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nnunet_ext.cli.options import DatasetJson, Json, NumProcesses

app = typer.Typer()


@app.command()
def uncertainty(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist, or be empty.")],
    predictions: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="Folders of predictions with --save_probabilities, or trained models' folders (their validation "
            "predictions, from --npz): one a fold, trainer or seed. -i may stand before the first, as for "
            "nnUNetv2_ensemble.",
            show_default=False,
        ),
    ] = None,
    first: Annotated[list[Path] | None, typer.Option("-i", hidden=True)] = None,
    percent: Annotated[
        bool, typer.Option("--percent", help="Maps as whole numbers of 0 to 100 (QU-BraTS) instead of 0 to 1.")
    ] = False,
    flag_below: Annotated[
        float, typer.Option("--flag-below", help="Flag regions of cases whose expected Dice is below.")
    ] = 0.7,
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Write maps of entropy and disagreement of several predictions, and a table of the cases to look at."""
    from nnunet_ext.errors import InputError
    from nnunet_ext.evaluation.markdown import format_number
    from nnunet_ext.tables import print_table, text_table
    from nnunet_ext.uncertainty.estimate import estimate_uncertainty

    folders = [*(first or []), *(predictions or [])]
    if not folders:
        raise InputError("Give folders of predictions: nnunet_ext uncertainty -i FOLD_0 FOLD_1 -o OUT")
    table = estimate_uncertainty(
        folders,
        output,
        percent=percent,
        flag_below=flag_below,
        dataset_json=dataset_json,
        num_processes=num_processes,
    )
    rows = [
        [
            str(region),
            str(len(of_region)),
            format_number(float(of_region["expected_dice"].mean())),
            format_number(float(of_region["mean_confidence"].mean())),
            str(int(of_region["flagged"].sum())),
        ]
        for region, of_region in table.groupby("region", sort=False)
    ]
    headings = ["Region", "Cases", "Expected Dice", "Mean confidence", f"Flagged (below {flag_below:g})"]
    flagged = table[table["flagged"]].sort_values("expected_dice", kind="stable")
    notes = [
        f"look at {row['case']}  {row['region']}: expected Dice {format_number(row['expected_dice'])}"
        for row in flagged.to_dict("records")
    ]
    notes.append(f"Wrote {', '.join(sorted(path.name for path in output.iterdir()))} in {output}")
    print_table(
        text_table(headings, rows, title="Means over the cases"),
        json.loads(table.to_json(orient="records", double_precision=15)),
        as_json,
        notes,
    )


@app.command()
def calibrate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="CROSSVAL...",
            help="Trained models' folders, or folders fold_X/validation, with the probabilities that nnUNetv2_train "
            "--npz saves; two folds at least.",
        ),
    ],
    references: Annotated[Path, typer.Option("-r", "--references", help="Folder of their label images: labelsTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file to write; a diagram (.png) beside it.")],
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Fit temperatures that calibrate probabilities, on cross-validation predictions, judged on folds left out."""
    from nnunet_ext.evaluation.markdown import format_number
    from nnunet_ext.files.json_object import read_json_object
    from nnunet_ext.tables import print_table, text_table
    from nnunet_ext.uncertainty.calibrate import at_the_end, calibrate

    result = calibrate(predictions, references, output, dataset_json=dataset_json, num_processes=num_processes)
    rows = [
        [region, words, *(format_number(value) for value in (scores.ece, scores.brier, scores.nll))]
        for region, held_out in result.held_out.items()
        for words, scores in (("as saved", held_out.before), ("calibrated", held_out.after))
    ]
    caption = (
        f"{result.voxels} voxels: boxes around reference and prediction, {result.margin} voxels wider. Each fold with "
        "the temperatures of the others."
    )
    headings = ["Region", "Probabilities", "ECE", "Brier score", "NLL"]
    notes = []
    for name, value in result.named(result.temperatures).items():
        others = ", ".join(f"{result.named(fold.temperatures)[name]:.2f}" for fold in result.folds)
        notes.append(f"temperature of {name}: {value:.2f} (without each fold: {others})")
    notes.append(f"Wrote {output.name}, {output.stem}.png in {output.parent}")
    print_table(
        text_table(headings, rows, title="On folds left out", caption=caption, num_left=2),
        read_json_object(output),
        as_json,
        notes,
    )
    for name in at_the_end(result):
        print(f"Warning: {name} has the last temperature there is to choose; look at the diagram.", file=sys.stderr)
    for case in result.without_foreground:
        print(f"Not counted: {case}, neither reference nor prediction has anything", file=sys.stderr)


@app.command("apply-calibration")
def apply_calibration_command(
    calibration: Annotated[Path, typer.Argument(help="JSON file of `nnunet_ext calibrate`.")],
    predictions: Annotated[
        Path, typer.Option("-i", "--input", help="Folder of predictions with probabilities, or of a trained model.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist, or be empty.")],
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
) -> None:
    """Write calibrated probabilities and their labels, for nnUNetv2_ensemble and nnUNetv2_apply_postprocessing."""
    from nnunet_ext.uncertainty.apply_calibration import apply_calibration

    done = apply_calibration(calibration, predictions, output, dataset_json=dataset_json, num_processes=num_processes)
    for problem in done.problems:
        print(f"Warning: {problem}", file=sys.stderr)
    if done.fitted:
        print(f"{len(done.fitted)} cases are of the cross-validation: each has the temperatures of the other folds")
    print(f"Calibrated {len(done.new) + len(done.fitted)} cases. Wrote {output}")
