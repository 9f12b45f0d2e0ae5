"""Commands that score predictions, and search what to do about them: ``evaluate``, ``postprocess``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nnunet_ext.cli.options import HD95, Convention, DatasetJson, NumProcesses

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
    from nnunet_ext.evaluation.summary import heading, metrics_of
    from nnunet_ext.tables import text_table

    result = evaluate_folders(
        reference,
        prediction,
        output,
        dataset_json=dataset_json,
        convention=convention,
        hd95_choice=hd95,
        images=images,
        other=compare,
        only_predicted=only_predicted,
        num_processes=num_processes,
    )
    regions = result.summary["regions"]
    metrics = metrics_of(result.metrics)
    table = text_table(
        ["region", *(heading(metric, result.summary["hd95_definition"]) for metric in metrics)],
        [
            [name, *(format_number(region["metrics"][metric]["mean"]) for metric in metrics)]
            for name, region in regions.items()
        ],
        title="Means over the cases",
        caption="\n".join(measured_how(result.summary)),
    )
    Console().print(table)
    print(f"Wrote {', '.join(sorted(path.name for path in output.iterdir()))} in {output}")


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
