"""Commands that score predictions, and search what to do about them: ``evaluate``, ``postprocess``."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from nnunet_ext.cli.options import (
    HD95,
    NSD,
    Convention,
    DatasetJson,
    Json,
    Lesions,
    MatchDice,
    MinLesion,
    NumProcesses,
    Task,
    lesion_settings,
)

app = typer.Typer()
postprocess = typer.Typer(help="Post-processing that nnUNetv2_apply_postprocessing applies.", no_args_is_help=True)
app.add_typer(postprocess, name="postprocess")


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Folder of reference label images, for example labelsTr.")],
    prediction: Annotated[Path, typer.Argument(help="Folder of predictions with the same file names.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    convention: Convention = None,
    hd95: HD95 = "pooled",
    lesions: Lesions = None,
    task: Task = None,
    match_dice: MatchDice = None,
    min_lesion_mm3: MinLesion = None,
    nsd: NSD = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of images; adds overlays of best, median and worst case.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Other predictions of the same cases; adds paired differences.")
    ] = None,
    by_modalities: Annotated[
        Path | None,
        typer.Option("--by-modalities", help="Folder that `nnunet_ext complete` made; splits means by what cases had."),
    ] = None,
    uncertainty: Annotated[
        Path | None,
        typer.Option(
            "--uncertainty", help="Folder that `nnunet_ext uncertainty` wrote; adds how far it can be trusted."
        ),
    ] = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Score the predicted cases alone, for one fold.")
    ] = False,
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Score predictions: Dice, sensitivity, specificity, HD95, volumes; a CSV row a case and region, tables, plots."""
    from nnunet_ext.evaluation.evaluate import evaluate_folders
    from nnunet_ext.evaluation.markdown import mean_cells, measured_how, uncertainty_tables
    from nnunet_ext.missing_modalities.presence import read_presence
    from nnunet_ext.tables import print_table, text_table

    result = evaluate_folders(
        reference,
        prediction,
        output,
        dataset_json=dataset_json,
        convention=convention,
        hd95_choice=hd95,
        lesions=lesion_settings(lesions, task, match_dice, min_lesion_mm3),
        nsd=nsd or [],
        images=images,
        other=compare,
        present=read_presence(by_modalities)[1] if by_modalities else None,
        uncertainty=uncertainty,
        only_predicted=only_predicted,
        num_processes=num_processes,
    )
    headings, rows = mean_cells(result.summary)
    caption = "\n".join(measured_how(result.summary))
    uncertain = result.summary.get("uncertainty")
    more = (
        [text_table(columns, cells, title=title) for title, columns, cells in uncertainty_tables(uncertain)]
        if uncertain
        else []
    )
    print_table(
        text_table(headings, rows, title="Means over the cases", caption=caption),
        result.summary,
        as_json,
        [f"Wrote {', '.join(sorted(path.name for path in output.iterdir()))} in {output}"],
        more,
    )


@postprocess.command("show")
def show(file: Annotated[Path, typer.Argument(help="postprocessing.pkl, nnU-Net's or ours.")]) -> None:
    """Say what a postprocessing.pkl does without running it; refuse one that names anything but post-processing."""
    from nnunet_ext.postprocessing.pickled import read_postprocessing

    steps = read_postprocessing(file)
    for number, step in enumerate(steps, start=1):
        print(f"{number}. {step}")
    if not steps:
        print("Nothing: predictions stay as they are.")


@postprocess.command("determine")
def determine_command(
    prediction: Annotated[Path, typer.Argument(help="Folder of cross-validation predictions of all cases.")],
    reference: Annotated[Path, typer.Argument(help="Folder of references.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="postprocessing.pkl to write.")],
    convention: Convention = None,
    thresholds: Annotated[
        str | None,
        typer.Option(
            "--thresholds",
            help="Thresholds to try in voxels, for example 5,10,50,200. Default: up to the largest component.",
        ),
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
    erase_largest: Annotated[
        bool,
        typer.Option("--erase-largest", help="Let the removal of components take the largest of a region too."),
    ] = False,
    joint: Annotated[
        bool,
        typer.Option("--joint", help="Search all combinations of the rules' thresholds, where there are not too many."),
    ] = False,
    connectivity: Annotated[int, typer.Option("--connectivity", help="6, 18 or 26.")] = 26,
    score: Annotated[
        Literal["dice", "lesion-dice"],
        typer.Option("--score", help="What thresholds are chosen by; lesion-dice shows the curves of both."),
    ] = "dice",
    lesions: Annotated[
        Literal["brats2023", "brats2025"] | None,
        typer.Option("--lesions", help="Definition that --score lesion-dice takes. Default: brats2025."),
    ] = None,
    task: Task = None,
    dataset_json: DatasetJson = None,
    num_processes: NumProcesses = None,
    as_json: Json = False,
) -> None:
    """Search thresholds for removing small components and small regions, by mean score on cases left out."""
    from nnunet_ext.errors import InputError
    from nnunet_ext.files.json_object import read_json_object
    from nnunet_ext.postprocessing.determine import determine_postprocessing, parse_replacements, parse_thresholds
    from nnunet_ext.tables import print_json

    if score == "dice" and (lesions or task):
        raise InputError("--lesions and --task belong to --score lesion-dice.")
    result = determine_postprocessing(
        prediction,
        reference,
        output,
        dataset_json=dataset_json,
        convention=convention,
        thresholds=parse_thresholds(thresholds),
        connectivity=connectivity,
        replacements=parse_replacements(replace),
        erase_largest=erase_largest,
        joint=joint,
        lesions=lesion_settings(lesions or "brats2025", task) if score == "lesion-dice" else None,
        num_processes=num_processes,
    )
    if as_json:
        for warning in result.warnings:
            print(f"Warning: {warning}", file=sys.stderr)
        print_json(read_json_object(output.with_suffix(".json")))
        return
    for curve in result.search.curves:
        before = curve.scores[0]
        if curve.best is None:
            print(f"refused  {curve.rule.name}: no threshold improves the mean {result.score} ({before:.4f} without)")
            continue
        changed = curve.cases_changed[curve.best_index]
        print(
            f"{'applied' if curve.applied else 'refused'}  {curve.rule.name} below {curve.best} voxels: "
            f"mean {result.score} {before:.4f} {curve.in_sample:+.4f} on the cases it is chosen on, {changed} change"
            + (f"; {curve.held_out}" if curve.held_out else "")
        )
    for warning in result.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    search = result.search
    print(f"Mean {result.score} ({result.how}): {search.before:.4f} before, {search.after:.4f} after")
    if search.held_out:
        print(f"All rules together: {search.held_out}")
    print(f"Wrote {output}")
