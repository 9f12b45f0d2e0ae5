"""Scoring a folder of predictions against a folder of references."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.box_plots import box_plots
from nnunet_ext.evaluation.by_modalities import modalities_as_markdown, split_by_modalities
from nnunet_ext.evaluation.case import evaluate_case
from nnunet_ext.evaluation.comparison import compare
from nnunet_ext.evaluation.conventions import CONVENTIONS, default_convention
from nnunet_ext.evaluation.detection import detection_plot
from nnunet_ext.evaluation.hausdorff import HD95_CHOICES, HD95Choice
from nnunet_ext.evaluation.lesions import Lesion, LesionSettings
from nnunet_ext.evaluation.markdown import summary_as_markdown
from nnunet_ext.evaluation.overlays import cases_to_show, overlays
from nnunet_ext.evaluation.summary import metrics_of, summarise
from nnunet_ext.evaluation.surface_dice import parse_tolerances
from nnunet_ext.evaluation.uncertainty_figures import curves_figure, expected_dice_figure
from nnunet_ext.evaluation.uncertainty_scores import score_uncertainty
from nnunet_ext.files.atomic import atomic_files, atomic_path, check_writable, write_text_atomically
from nnunet_ext.files.figure import save_figure
from nnunet_ext.labels.dataset_labels import DatasetLabels, find_dataset_json, read_dataset_labels
from nnunet_ext.parallel import map_cases


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Args:
        metrics: Rows of ``metrics.csv``, one a case and region.
        summary: Content of ``summary.json``.
        comparison: Rows of ``comparison.csv``, or None.
    """

    metrics: pd.DataFrame
    summary: dict[str, Any]
    comparison: pd.DataFrame | None

    @property
    def table(self) -> pd.DataFrame:
        """Means over the cases where there is a value: rows regions, columns the metrics of ``metrics``."""
        return self.metrics.groupby("region", sort=False)[metrics_of(self.metrics)].mean()


def evaluate_folders(
    reference: Path,
    prediction: Path,
    output: Path | None,
    *,
    dataset_json: Path | None = None,
    convention: str | None = None,
    hd95_choice: HD95Choice = "pooled",
    lesions: LesionSettings | None = None,
    nsd: Sequence[str] = (),
    images: Path | None = None,
    other: Path | None = None,
    present: Mapping[str, Sequence[str]] | None = None,
    uncertainty: Path | None = None,
    only_predicted: bool = False,
    num_processes: int | None = None,
) -> Evaluation:
    """Score predictions, and write ``metrics.csv``, ``summary.json``, ``summary.md``, ``box_plots.png`` and more.

    Nothing is written unless all cases could be scored, and all files or none.

    Args:
        reference: Folder of reference label images.
        prediction: Folder of predicted label images with the same file names.
        output: Folder to write to; made where it does not exist. None writes nothing.
        dataset_json: The data set's ``dataset.json``; None looks for it in and above the two folders.
        convention: Name of one of ``CONVENTIONS``; None takes the data set's default.
        hd95_choice: ``"pooled"``, ``"directed"`` or ``"both"``.
        lesions: How to score lesions, which adds ``lesions.csv`` and ``detection.png``; None does not.
        nsd: Tolerances of the surface Dice, see :func:`nnunet_ext.evaluation.surface_dice.parse_tolerances`.
        images: Folder of the images; with it ``overlays.png`` shows the best, the median and the worst case.
        other: Folder of other predictions for the same cases; with it ``comparison.csv`` holds paired differences.
        present: Case -> names of the modalities that it had; with it ``by_modalities.csv`` splits the means by them.
        uncertainty: Folder that ``nnunet_ext uncertainty`` wrote about these cases; adds how far it can be trusted.
        only_predicted: Score the cases of ``prediction`` alone, where it is one fold of a cross-validation.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Raises:
        InputError: Anything that is wrong with the folders and files, all problems listed.
    """
    labels = read_dataset_labels(dataset_json or find_dataset_json([prediction, reference]))
    references, predictions = pair_files(reference, prediction, labels.file_ending, only_predicted)
    if output is not None:
        _check_output(output)
    score = partial(
        score_files,
        labels=labels,
        convention=convention,
        hd95_choice=hd95_choice,
        lesions=lesions,
        nsd=nsd,
        num_processes=num_processes,
    )
    others = pair_files(reference, other, labels.file_ending, only_predicted) if other else None
    metrics, found = score(references, predictions)
    comparison = None
    if others:
        comparison = compare(metrics, score(*others).metrics)
    trust = None
    if uncertainty is not None:
        trust = score_uncertainty(
            uncertainty,
            references,
            predictions,
            labels=labels,
            metrics=metrics,
            images=images,
            num_processes=num_processes,
        )
    summary = {**summarise(metrics, found), "reference": str(reference), "prediction": str(prediction)}
    if comparison is not None:
        summary["comparison"] = {"other": str(other), "differences": json.loads(comparison.to_json(orient="records"))}
    if trust is not None:
        summary["uncertainty"] = {"folder": str(uncertainty), **trust.summary()}
    if output is None:
        return Evaluation(metrics, summary, comparison)

    by_modalities = split_by_modalities(metrics, present) if present is not None else None
    shown = cases_to_show(metrics) if images else {}
    overlay = (
        overlays(shown, images, references=references, predictions=predictions, labels=labels)
        if images and shown
        else None
    )
    with atomic_files(output) as new:
        write_csv(metrics, new / "metrics.csv")
        write_text_atomically(new / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        page = summary_as_markdown(summary, comparison, str(other))
        if by_modalities is not None:
            write_csv(by_modalities, new / "by_modalities.csv")
            page += "\n" + modalities_as_markdown(by_modalities, metrics)
        write_text_atomically(new / "summary.md", page)
        save_figure(box_plots({prediction.name: metrics}), new / "box_plots.png")
        if found is not None:
            write_csv(found, new / "lesions.csv")
            save_figure(detection_plot(found), new / "detection.png")
        if comparison is not None:
            write_csv(comparison, new / "comparison.csv")
        if trust is not None:
            write_csv(trust.areas, new / "uncertainty_curves.csv")
            save_figure(curves_figure(trust.curves), new / "uncertainty_curves.png")
            write_csv(trust.cases, new / "expected_dice.csv")
            save_figure(expected_dice_figure(trust.cases), new / "expected_dice.png")
        if overlay:
            save_figure(overlay, new / "overlays.png")
    # What an earlier run wrote and this one does not would contradict the new numbers.
    if found is None:
        (output / "lesions.csv").unlink(missing_ok=True)
        (output / "detection.png").unlink(missing_ok=True)
    if by_modalities is None:
        (output / "by_modalities.csv").unlink(missing_ok=True)
    if comparison is None:
        (output / "comparison.csv").unlink(missing_ok=True)
    if trust is None:
        for name in ("uncertainty_curves.csv", "uncertainty_curves.png", "expected_dice.csv", "expected_dice.png"):
            (output / name).unlink(missing_ok=True)
    if overlay is None:
        (output / "overlays.png").unlink(missing_ok=True)
    return Evaluation(metrics, summary, comparison)


class Scores(NamedTuple):
    """Rows of ``metrics.csv``, and of ``lesions.csv`` where lesions are scored."""

    metrics: pd.DataFrame
    lesions: pd.DataFrame | None


def score_files(
    references: Mapping[str, Path],
    predictions: Mapping[str, Path],
    labels: DatasetLabels,
    convention: str | None = None,
    hd95_choice: HD95Choice = "pooled",
    num_processes: int | None = None,
    *,
    lesions: LesionSettings | None = None,
    nsd: Sequence[str] = (),
) -> Scores:
    """Scores, cases in alphabetical order and regions in that of ``dataset.json``.

    Args:
        references: Case -> label image; holds at least the cases of ``predictions``.
        predictions: Case -> label image.
        labels: The data set's labels.
        convention: Name of one of ``CONVENTIONS``; None takes the data set's default.
        hd95_choice: ``"pooled"``, ``"directed"`` or ``"both"``.
        num_processes: Parallel processes; None takes one a processor, at most 8.
        lesions: How to score lesions; None does not.
        nsd: Tolerances of the surface Dice, see :func:`nnunet_ext.evaluation.surface_dice.parse_tolerances`.

    Raises:
        InputError: Unknown convention, definition or region, or files that cannot be scored, all problems listed.
    """
    convention = convention or default_convention(labels)
    if convention not in CONVENTIONS:
        raise InputError(f"Unknown convention '{convention}'; there are {', '.join(CONVENTIONS)}.")
    if hd95_choice not in HD95_CHOICES:
        raise InputError(f"Unknown definition of HD95 '{hd95_choice}'; there are {', '.join(HD95_CHOICES)}.")
    how = (labels, convention, hd95_choice, lesions and lesions.of_dataset(labels), parse_tolerances(nsd, labels))
    arguments = [(case, references[case], predictions[case], *how) for case in sorted(predictions)]
    scores = map_cases(evaluate_case, arguments, num_processes, "Scoring")
    metrics = pd.DataFrame([row for of_case in scores for row in of_case.rows])
    if lesions is None:
        return Scores(metrics, None)
    columns = ["case", "region", *(field.name for field in fields(Lesion)), "volume_unit"]
    return Scores(metrics, pd.DataFrame([row for of_case in scores for row in of_case.lesions], columns=columns))


def pair_files(
    reference: Path, prediction: Path, file_ending: str, only_predicted: bool = False
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Label images of both folders by case.

    Args:
        reference: Folder of references.
        prediction: Folder of predictions.
        file_ending: Ending of the files.
        only_predicted: References without a prediction are left out instead of an error.

    Raises:
        InputError: A folder does not exist or is empty, or one side lacks cases.
    """
    references, predictions = (_label_files(folder, file_ending) for folder in (reference, prediction))
    problems = [
        f"{prediction}: no prediction for case '{case}' of {reference}."
        for case in sorted(references.keys() - predictions.keys())
        if not only_predicted
    ]
    problems += [
        f"{prediction / (case + file_ending)}: no reference for this case in {reference}."
        for case in sorted(predictions.keys() - references.keys())
    ]
    if problems:
        raise InputError(problems)
    return {case: references[case] for case in predictions}, predictions


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV that is complete or not there; missing values are empty cells."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _label_files(folder: Path, file_ending: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    # A leading dot marks files in the making.
    files = sorted(path for path in folder.glob(f"*{file_ending}") if path.is_file() and path.name[0] != ".")
    if not files:
        raise InputError(f"{folder}: no files that end in '{file_ending}', the file_ending of dataset.json.")
    return {path.name.removesuffix(file_ending): path for path in files}


def _check_output(output: Path) -> None:
    """Refuse what cannot be written, and to overwrite nnU-Net's own ``summary.json``, which its commands read."""
    summary = output / "summary.json"
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is not a folder.")
    if summary.is_file() and '"metric_per_case"' in summary.read_text(encoding="utf-8"):
        raise InputError(f"{summary}: is nnU-Net's own summary. Choose another output folder.")
    check_writable(output)
