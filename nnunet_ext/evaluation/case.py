"""All metrics of one case."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.conventions import CONVENTIONS, Emptiness, apply_convention
from nnunet_ext.evaluation.hausdorff import HD95Choice, hd95, hd95_columns
from nnunet_ext.evaluation.lesions import LesionSettings, score_lesions
from nnunet_ext.evaluation.overlap import (
    count_voxels,
    dice,
    relative_volume_difference,
    sensitivity,
    specificity,
)
from nnunet_ext.evaluation.surface_dice import surface_dice
from nnunet_ext.images.grid import grid_difference
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.labels.label_image import LabelImage, read_label_image


class CaseScores(NamedTuple):
    """Rows of ``metrics.csv``, and of ``lesions.csv``, of one case."""

    rows: list[dict[str, Any]]
    lesions: list[dict[str, Any]]


def evaluate_case(
    case: str,
    reference: Path,
    prediction: Path,
    labels: DatasetLabels,
    convention: str,
    hd95_choice: HD95Choice,
    lesions: LesionSettings | None = None,
    tolerances: Mapping[str, float] | None = None,
) -> CaseScores:
    """Scores of one case, one row a region.

    Args:
        case: Case identifier.
        reference: Label image of the reference.
        prediction: Label image of the prediction.
        labels: Regions to score.
        convention: Name of one of ``CONVENTIONS``.
        hd95_choice: ``"pooled"``, ``"directed"`` or ``"both"``.
        lesions: How to score lesions; None does not.
        tolerances: Region -> tolerance in mm of the surface Dice, which other regions do not get.

    Raises:
        InputError: A file cannot be used, the grids differ, or a label value is not in ``dataset.json``.
    """
    images, problems = read_pair(reference, prediction, labels)
    if problems:
        raise InputError(problems)
    truth, predicted = images
    scored = np.ones(truth.labels.shape, dtype=bool)
    if labels.ignore_label is not None:
        scored = truth.labels != labels.ignore_label
    num_scored = int(np.count_nonzero(scored))
    rows, found = [], []
    for region in labels.regions:
        masks = region.mask(truth.labels) & scored, region.mask(predicted.labels) & scored
        row = {"case": case, "region": region.name, "labels": " ".join(map(str, region.labels))}
        tolerance = tolerances.get(region.name, math.nan) if tolerances else None
        row |= evaluate_masks(*masks, truth.spacing, num_scored, convention, hd95_choice, tolerance)
        if lesions is not None:
            metrics, of_region = score_lesions(*masks, truth.spacing, lesions)
            row |= metrics
            found += [
                {"case": case, "region": region.name, **vars(lesion), "volume_unit": row["volume_unit"]}
                for lesion in of_region
            ]
        rows.append(row)
    return CaseScores(rows, found)


def read_pair(reference: Path, prediction: Path, labels: DatasetLabels) -> tuple[list[LabelImage], list[str]]:
    """Reference and prediction of a case, and what is wrong with them (then the images may be fewer than two)."""
    images: list[LabelImage] = []
    problems: list[str] = []
    ignored = set() if labels.ignore_label is None else {labels.ignore_label}
    for path, allowed in ((reference, labels.values | ignored), (prediction, labels.values)):
        try:
            image = read_label_image(path, labels.content)
        except InputError as error:
            problems += error.problems
            continue
        unknown = sorted(set(np.unique(image.labels).tolist()) - allowed)
        if unknown:
            problems.append(f"{path}: label values {unknown} are not in dataset.json, which has {sorted(allowed)}.")
        images.append(image)
    if len(images) == 2 and (difference := grid_difference(images[1].grid, images[0].grid)):
        problems.append(f"{prediction}: {difference} as in {reference}.")
    return images, problems


def evaluate_masks(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing: Sequence[float],
    num_scored: int,
    convention: str,
    hd95_choice: HD95Choice,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Metrics, volumes in mm³ (2d: areas in mm²) and voxel counts of one region.

    Args:
        reference: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``, without ignored voxels.
        prediction: Boolean mask of the same shape, without ignored voxels.
        spacing: Voxel spacing in mm in the order of the axes.
        num_scored: Number of voxels that are not ignored.
        convention: Name of one of ``CONVENTIONS``.
        hd95_choice: ``"pooled"``, ``"directed"`` or ``"both"``.
        tolerance: Of the surface Dice in mm; NaN gives it no value, None leaves it out.
    """
    counts = count_voxels(reference, prediction, num_scored)
    reference_size, predicted_size = counts.tp + counts.fn, counts.tp + counts.fp
    empty: Emptiness = "neither"
    if not reference_size:
        empty = "reference" if predicted_size else "both"
    elif not predicted_size:
        empty = "prediction"
    columns = hd95_columns(hd95_choice)
    distances = {
        column: hd95(reference, prediction, spacing, definition) if empty == "neither" else math.nan
        for column, definition in columns.items()
    }
    metrics = {
        "dice": dice(counts),
        "sensitivity": sensitivity(counts),
        "specificity": specificity(counts),
        **distances,
        "relative_volume_difference": relative_volume_difference(counts),
    }
    if tolerance is not None:
        measurable = empty == "neither" and not math.isnan(tolerance)
        both = surface_dice(reference, prediction, spacing, tolerance) if measurable else (math.nan, math.nan)
        metrics |= dict(zip(("nsd", "nsd_voxel"), both, strict=True))
    voxel_volume = math.prod(spacing)
    return {
        **apply_convention(metrics, empty, CONVENTIONS[convention]),
        "reference_volume": reference_size * voxel_volume,
        "predicted_volume": predicted_size * voxel_volume,
        "volume_unit": f"mm{len(spacing)}",
        "empty": empty,
        **counts._asdict(),
        "convention": convention,
        "hd95_definition": columns["hd95"],
        **({} if tolerance is None else {"nsd_tolerance": tolerance}),
    }
