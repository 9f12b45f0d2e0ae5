"""``nnunet_ext report``: settings, learning curves, scores and overlays of trained models on one page."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from nnunet_ext import __version__
from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.box_plots import box_plots
from nnunet_ext.evaluation.comparison import compare
from nnunet_ext.evaluation.detection import detection_plot
from nnunet_ext.evaluation.evaluate import Scores, score_files
from nnunet_ext.evaluation.hausdorff import HD95Choice
from nnunet_ext.evaluation.lesions import LesionSettings
from nnunet_ext.evaluation.markdown import (
    COMPARISON_WORDS,
    comparison_cells,
    detection_tables,
    format_number,
    measured_how,
)
from nnunet_ext.evaluation.overlays import region_colours
from nnunet_ext.evaluation.repeated_runs import over_runs
from nnunet_ext.evaluation.summary import METRICS, heading, measured, metrics_of, summarise
from nnunet_ext.files.atomic import write_text_atomically
from nnunet_ext.plans.network_entry import PlansError, resolved_configuration
from nnunet_ext.report.cases import case_overlays, case_table
from nnunet_ext.report.learning_curves import learning_curves
from nnunet_ext.report.section import Cell, Picture, Section, Table, picture
from nnunet_ext.report.uncertainty import ScoredFiles, uncertainty_section
from nnunet_ext.trained.model_folder import (
    TrainedModel,
    find_model_folders,
    nnunet_folder,
    read_model,
)
from nnunet_ext.trained.unlike_paper import unlike_paper
from nnunet_ext.trainers.health import CALLED
from nnunet_ext.trainers.health_findings import findings, region_names
from nnunet_ext.trainers.health_plot import health_figure

# shorter than in summary.md, so that a table fits a phone
STATISTIC_HEADINGS = {"mean": "Mean", "std": "SD", "median": "Median", "q25": "Q25", "q75": "Q75", "n": "n"}


def write_report(
    results: Sequence[Path],
    output: Path,
    *,
    reference: Path | None = None,
    images: Path | None = None,
    convention: str | None = None,
    hd95_choice: HD95Choice = "pooled",
    lesions: LesionSettings | None = None,
    nsd: Sequence[str] = (),
    uncertainty: Path | None = None,
    calibration: Path | None = None,
    num_processes: int | None = None,
) -> list[TrainedModel]:
    """Write the report; it needs no other file and no network.

    Args:
        results: Model folders, or folders one or two levels above them.
        output: HTML file to write.
        reference: Folder of references; None finds those that nnU-Net validated with.
        images: Folder of images for the overlays; None takes ``imagesTr`` of the data set where it is found.
        convention: Name of one of ``CONVENTIONS``; None takes each data set's default.
        hd95_choice: ``"pooled"``, ``"directed"`` or ``"both"``.
        lesions: How to score lesions; None does not.
        nsd: Tolerances of the surface Dice, see :func:`nnunet_ext.evaluation.surface_dice.parse_tolerances`.
        uncertainty: Folder that ``nnunet_ext uncertainty`` wrote about the validation cases, or None.
        calibration: File that ``nnunet_ext calibrate`` wrote, or None.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Returns:
        The models on the page.

    Raises:
        InputError: No model found, or files that cannot be used.
    """
    if output.is_dir() or not output.parent.is_dir():
        raise InputError(f"{output}: must be a file in a folder that exists.")
    models = [read_model(folder, reference) for folder in find_model_folders(results)]
    names = _short_names(models)
    sections, scores, drawn = [], {}, []
    for index, model in enumerate(models):
        section = Section(names[index], f"model-{index}")
        _describe(model, section)
        files = _scored_files(model, section)
        if files is not None:
            found = score_files(*files, model.labels, convention, hd95_choice, num_processes, lesions=lesions, nsd=nsd)
            scores[index] = found.metrics
            _add_scores(section, found)
            _add_cases(model, section, found.metrics, images, *files)
            drawn.append(ScoredFiles(model.labels, *files, _image_folder(model, images)))
        sections.append(section)
    certainty = uncertainty_section(uncertainty, calibration, drawn)
    together = _compared(models, names, scores)
    template = Environment(
        loader=PackageLoader("nnunet_ext.report"), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    page = template.render(
        title=names[0] if len(models) == 1 else f"{len(models)} trained models",
        overview=_overview(models, names, scores),
        sections=[*_repeated(models, names, scores), *together, *([certainty] if certainty else []), *sections],
        made=f"nnunet_ext {__version__}, {datetime.now():%Y-%m-%d %H:%M}",
    )
    write_text_atomically(output, page)
    return models


def _short_names(models: Sequence[TrainedModel]) -> list[str]:
    """Folder names, with the data set in front where there are several data sets, and the whole path where needed."""
    several = len({model.dataset for model in models}) > 1
    names = [f"{model.dataset}/{model.name}" if several else model.name for model in models]
    return [str(model.folder) if names.count(name) > 1 else name for model, name in zip(models, names, strict=True)]


def _describe(model: TrainedModel, section: Section) -> None:
    configuration: dict[str, Any] = {}
    with suppress(PlansError, KeyError):
        configuration = resolved_configuration(model.plans, model.configuration)
    folds = [
        f"{fold.name} ({len(fold.curves.get('train_losses', []))} epochs{'' if fold.finished else ', not finished'})"
        for fold in model.folds
    ]
    versions = [
        ", ".join(f"{name} {value}" for name, value in fold.machine.items() if name != "device") for fold in model.folds
    ]
    facts = {
        "Data set": model.dataset,
        "Folder": str(model.folder),
        "Folds": ", ".join(folds),
        "Patch size": str(configuration.get("patch_size", "n/a")),
        "Batch size": str(configuration.get("batch_size", "n/a")),
        "Parameters": f"{_parameters(model)}, those for training alone included",
        "Time of an epoch": f"{_epoch_time(model)}, validation included; median",
        "Device": _distinct(fold.machine.get("device", "") for fold in model.folds),
        "Versions": _distinct(versions),
    }
    section.facts = Table([], [list(fact) for fact in facts.items()])
    unlike = unlike_paper(model)
    if unlike is None:
        section.settings = "A trainer without a paper in this package; its settings are nnU-Net's or its own."
    elif not unlike:
        section.settings = "All settings are the paper's, and so are patch, batch and width where it states them."
    else:
        rows = [[name, json.dumps(value), json.dumps(paper)] for name, (value, paper) in unlike.items()]
        section.settings = Table(["Setting", "This model", "Paper"], rows)
    section.curves = [picture(figure, title) for title, figure in learning_curves(model.folds).items()]
    _add_health(model, section)
    unfinished = [fold.name for fold in model.folds if not fold.finished]
    if unfinished:
        section.notes.append(f"Training of fold {', '.join(unfinished)} has not finished.")
    if any(fold.name == "all" for fold in model.folds):
        section.notes.append('Fold "all" is validated on the cases it was trained on: its scores say little.')


def _add_health(model: TrainedModel, section: Section) -> None:
    """What the trainings' logs say of regions that do not learn; stock nnU-Net's say nothing."""
    regions = region_names(model.labels.content)
    for fold in model.folds:
        if CALLED in fold.curves:
            section.notes += [f"Fold {fold.name}: {finding.text}" for finding in findings(fold.curves, regions)]
            section.curves.append(picture(health_figure(fold.curves, regions), f"Health of fold {fold.name}"))


def _scored_files(model: TrainedModel, section: Section) -> tuple[dict[str, Path], dict[str, Path]] | None:
    """References and predictions of all folds' validation cases; where a case is in several, those of the first."""
    predictions: dict[str, Path] = {}
    references: dict[str, Path] = {}
    missing = 0
    for fold in model.folds:
        missing += len(fold.predictions.keys() - fold.references.keys())
        for case, path in fold.references.items():
            predictions.setdefault(case, fold.predictions[case])
            references.setdefault(case, path)
    if missing:
        section.notes.append(f"{missing} validation predictions have no reference and are not scored (--reference).")
    if not predictions:
        section.notes.append(
            "No validation predictions to score. nnUNetv2_train writes them at its end, or with --val."
        )
        return None
    return references, predictions


def _add_scores(section: Section, scores: Scores) -> None:
    metrics = scores.metrics
    summary = summarise(metrics, scores.lesions)
    section.how = [line.replace("`", "") for line in measured_how(summary)]
    for metric in metrics_of(metrics):
        rows = [
            [name, *(format_number(region["metrics"][metric][key]) for key in STATISTIC_HEADINGS)]
            for name, region in summary["regions"].items()
        ]
        section.tables.append(Table(["", *STATISTIC_HEADINGS.values()], rows, heading(metric, summary)))
    for title, headings, cells in detection_tables(summary):
        section.tables.append(Table(headings, cells, title))
    kinds = {"false_positive": "False positive", "false_negative": "False negative", "both_empty": "Both empty"}
    rows = [[name, *(str(region[f"{kind}_cases"]) for kind in kinds)] for name, region in summary["regions"].items()]
    section.tables.append(Table(["", *kinds.values()], rows, "Cases with empty masks"))
    section.plots = _box_plots({section.title: metrics})
    if scores.lesions is not None:
        plot = picture(detection_plot(scores.lesions), "Lesions found by volume, one panel a region")
        section.plots.append(replace(plot, is_wide=True))


def _parameters(model: TrainedModel) -> str:
    numbers = [fold.num_parameters for fold in model.folds if fold.num_parameters]
    return f"{numbers[0] / 1e6:.2f} M" if numbers else "n/a"


def _epoch_time(model: TrainedModel) -> str:
    seconds = [fold.epoch_seconds for fold in model.folds if fold.epoch_seconds is not None]
    if not seconds:
        return "n/a"
    shown = dict.fromkeys(f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in (min(seconds), max(seconds)))
    return f"{' to '.join(shown)} s"


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if value)) or "n/a"


def _add_cases(
    model: TrainedModel,
    section: Section,
    metrics: pd.DataFrame,
    images: Path | None,
    references: dict[str, Path],
    predictions: dict[str, Path],
) -> None:
    """Table of the cases, with links to overlays where there are images."""
    folder = _image_folder(model, images)
    pictures: dict[str, Picture] = {}
    if folder is None:
        section.notes.append("No overlays: the images were not found. Set nnUNet_raw or name their folder (--images).")
    else:
        pictures, problems = case_overlays(
            metrics, folder, references=references, predictions=predictions, labels=model.labels, prefix=section.anchor
        )
        section.notes += problems
    section.overlays, section.legend = list(pictures.values()), region_colours(model.labels)
    section.cases = case_table(metrics, {case: shown.anchor for case, shown in pictures.items()})


def _image_folder(model: TrainedModel, images: Path | None) -> Path | None:
    return images or nnunet_folder("nnUNet_raw", model.dataset, "imagesTr")


def _compared(models: Sequence[TrainedModel], names: Sequence[str], scores: dict[int, pd.DataFrame]) -> list[Section]:
    """A section for each data set with several scored models: box plots side by side, differences to the first."""
    of_dataset: dict[str, list[int]] = defaultdict(list)
    for index in scores:
        of_dataset[models[index].dataset].append(index)
    sections = []
    for dataset, indices in of_dataset.items():
        if len(indices) < 2:
            continue
        common = set.intersection(*(set(scores[index]["case"]) for index in indices))
        section = Section(f"Models of {dataset} side by side", f"compared-{indices[0]}")
        section.notes.append(f"On the {len(common)} validation cases that all {len(indices)} models have.")
        sections.append(section)
        regions = {tuple(scores[index]["region"].unique()) for index in indices}
        if not common or len(regions) > 1:
            section.notes.append("Without common cases and equal regions there is nothing to compare.")
            continue
        own = [names[i].removeprefix(f"{dataset}/") for i in indices]
        shared = {name: scores[i][scores[i]["case"].isin(common)] for name, i in zip(own, indices, strict=True)}
        section.tables.append(_means_side_by_side(shared))
        section.plots = _box_plots(shared)
        first, *others = shared
        for other in others:
            cells = comparison_cells(compare(shared[other], shared[first]))
            section.tables.append(Table(*cells, f"{other} minus {first}", wide=True))
        section.how = [COMPARISON_WORDS.replace("this result minus the other", "the second minus the first model")]
    return sections


def _means_side_by_side(results: dict[str, pd.DataFrame]) -> Table:
    """Mean and standard deviation over the cases, a row a region and metric and a column a model."""
    summaries = {name: summarise(metrics) for name, metrics in results.items()}
    first = next(iter(summaries.values()))
    shared = [metric for metric in METRICS if all(metric in metrics for metrics in results.values())]
    rows = [
        [
            region,
            heading(metric, first),
            *(
                f"{format_number(values['mean'])} ± {format_number(values['std'])}"
                for values in (summary["regions"][region]["metrics"][metric] for summary in summaries.values())
            ),
        ]
        for metric in shared
        for region in first["regions"]
    ]
    return Table(["Region", "Metric", *results], rows, "Means ± standard deviation over the cases", wide=True)


def _repeated(models: Sequence[TrainedModel], names: Sequence[str], scores: dict[int, pd.DataFrame]) -> list[Section]:
    """A section for each training that was run several times: mean and standard deviation over the runs."""
    of_training: dict[str, list[int]] = defaultdict(list)
    for index in scores:
        of_training[models[index].training].append(index)
    sections = []
    for indices in of_training.values():
        if len(indices) < 2:
            continue
        model = models[indices[0]]
        common = set.intersection(*(set(scores[index]["case"]) for index in indices))
        section = Section(f"Repeated runs of {model.trainer} on {model.dataset}", f"repeated-{indices[0]}")
        section.notes.append(
            f"{', '.join(names[i] for i in indices)}: the same but for the name of the plans and the seed."
        )
        section.notes.append(f"On the {len(common)} validation cases that all {len(indices)} runs have.")
        sections.append(section)
        if not common:
            continue
        section.how = ["Mean ± standard deviation (n - 1) over the runs, each with its mean over the cases."]
        runs = [scores[index][scores[index]["case"].isin(common)] for index in indices]
        cells = [
            [row["region"], heading(row["metric"], measured(runs[0])), str(row["n"]),
             f"{format_number(row['mean'])} ± {format_number(row['std'])}"]
            for row in over_runs(runs).to_dict("records")
        ]  # fmt: skip
        section.tables.append(Table(["Region", "Metric", "Runs", "Mean ± SD"], cells, wide=True))
    return sections


def _overview(models: Sequence[TrainedModel], names: Sequence[str], scores: dict[int, pd.DataFrame]) -> Table:
    rows: list[list[str | Cell]] = []
    for index, model in enumerate(models):
        folds = ", ".join(fold.name for fold in model.folds)
        means: pd.Series[Any] | dict[str, float] = {}
        cases = "0"
        if index in scores:
            means = scores[index].groupby("region", sort=False)["dice"].mean()
            cases = str(scores[index]["case"].nunique())
        dice = ", ".join(f"{region} {format_number(float(mean))}" for region, mean in means.items())
        row = [folds, cases, dice or "n/a", _parameters(model), _epoch_time(model)]
        rows.append([Cell(names[index], f"model-{index}"), *row])
    return Table(["Model", "Folds", "Validation cases", "Mean Dice", "Parameters", "Epoch"], rows)


def _box_plots(results: dict[str, pd.DataFrame]) -> list[Picture]:
    first = next(iter(results.values()))
    how = measured(first)
    return [picture(box_plots(results, [metric]), f"Box plot: {heading(metric, how)}") for metric in metrics_of(first)]
