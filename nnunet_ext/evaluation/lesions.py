"""Lesion-wise scores of one region: those that rank BraTS in 2023/24 and in 2025/26, and detection for any data set.

The two years' scores carry the same names and are different numbers; ``docs/evaluation.md`` has them side by side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.hausdorff import bounding_box, directed_percentile_95, pooled_percentile_95
from nnunet_ext.evaluation.lesion_matching import (
    Components,
    Overlaps,
    components,
    dice_of_overlaps,
    match_one_to_one,
    merge_by_dilation,
    overlaps,
    touching_components,
)
from nnunet_ext.evaluation.surface_dice import surface_dice_by_voxels
from nnunet_ext.evaluation.surfaces import Surface, border_surfaces, corner_surfaces, surface_distances, union
from nnunet_ext.labels.dataset_labels import DatasetLabels

LesionDefinition = Literal["brats2023", "brats2025", "detection"]
LESION_DEFINITIONS: tuple[str, ...] = get_args(LesionDefinition)
LesionTask = Literal["gli", "men", "met", "ped", "ssa"]
LESION_TASKS: tuple[str, ...] = get_args(LesionTask)


@dataclass(frozen=True)
class TaskRules:
    """What differs between the tasks of BraTS 2023 and 2024.

    Args:
        dilations: How often the reference is dilated.
        max_ignored: Lesions up to this size leave the mean, in mm³ (in 2d mm²). The tool multiplies voxels by the
            spacing; in BraTS, of 1 mm, it is a number of voxels.
    """

    dilations: int
    max_ignored: float


# The challenge's published tool, BraTS-2023-Metrics
TASKS: Mapping[str, TaskRules] = {
    "gli": TaskRules(3, 50),
    "men": TaskRules(1, 50),
    "met": TaskRules(1, 2),
    "ped": TaskRules(3, 50),
    "ssa": TaskRules(3, 50),
}
MARGIN = max(rules.dilations for rules in TASKS.values())
BRATS2023_PENALTY = 374.0  # mm of HD95, of each missed or surplus lesion
BRATS2025_PENALTY = 373.0
BRATS2025_MIN_DICE = 1e-6


@dataclass(frozen=True)
class LesionSettings:
    """How lesions are scored.

    Args:
        definition: ``"brats2023"`` or ``"brats2025"`` adds their scores; ``"detection"`` counts lesions only, as the
            others do too.
        task: Task of BraTS whose rules ``"brats2023"`` takes; None takes :func:`default_task` of the data set.
        match_dice: Detection: smallest Dice of two lesions that belong together.
        min_lesion_mm3: Detection: smaller lesions of either side are left out, in mm³ (in 2d mm²).

    Raises:
        InputError: A value that does not exist or is out of range, or a task for another definition.
    """

    definition: LesionDefinition
    task: LesionTask | None = None
    match_dice: float = BRATS2025_MIN_DICE
    min_lesion_mm3: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.definition not in LESION_DEFINITIONS:
            known = ", ".join(LESION_DEFINITIONS)
            raise InputError(f"Unknown definition of lesion-wise scores '{self.definition}'; there are {known}.")
        if self.task is not None and self.definition != "brats2023":
            raise InputError(f"A task of BraTS changes 'brats2023' alone: leave it out for '{self.definition}'.")
        if self.task not in (None, *LESION_TASKS):
            raise InputError(f"Unknown task of BraTS '{self.task}'; there are {', '.join(LESION_TASKS)}.")
        if not 0 < self.match_dice <= 1:
            raise InputError(f"The Dice of a match must be above 0 and at most 1, not {self.match_dice:g}.")
        if not 0 <= self.min_lesion_mm3 < math.inf:
            raise InputError(f"The smallest lesion must be 0 mm³ or more, not {self.min_lesion_mm3:g}.")

    def of_dataset(self, labels: DatasetLabels) -> "LesionSettings":
        """The same with the data set's task where none is named and the definition needs one."""
        needs_one = self.definition == "brats2023" and self.task is None
        return replace(self, task=default_task(labels)) if needs_one else self

    @property
    def name(self) -> str:
        """Name of the definition, with the task where it depends on it."""
        return f"{self.definition} {self.task or 'gli'}" if self.definition == "brats2023" else self.definition


def default_task(labels: DatasetLabels) -> LesionTask:
    """Task of BraTS that a data set's regions belong to: ``"ped"``, ``"men"`` or, for all others, ``"gli"``.

    Paediatric data have cystic components, radiotherapy planning of meningiomas the gross tumour volume alone. The
    regions of the other tasks are those of gliomas; of metastases and meningiomas it must be said.
    """
    names = {"".join(filter(str.isalnum, region.name.lower())) for region in labels.regions}
    if names & {"cc", "cysticcomponent", "cystic", "cyst"}:
        return "ped"
    if names and names <= {"gtv", "grosstumorvolume", "grosstumourvolume"}:
        return "men"
    return "gli"


@dataclass(frozen=True)
class Lesion:
    """A lesion in the sense of detection.

    Args:
        kind: ``"found"``, ``"missed"`` or ``"surplus"``.
        volume: Of the reference's lesion, of a surplus one the prediction's; mm³, in 2d mm².
        predicted_volume: Of the prediction's lesion; 0 where it is missed.
        dice: Of the two; 0 where one has no partner.
    """

    kind: Literal["found", "missed", "surplus"]
    volume: float
    predicted_volume: float
    dice: float


class LesionPair:
    """Masks of a region in reference and prediction, and what their lesions share, each computed when first asked for.

    Args:
        reference: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        prediction: Boolean mask of the same shape.
        spacing: Voxel spacing in mm in the order of the axes.
    """

    def __init__(self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> None:
        self.spacing = tuple(float(value) for value in spacing)
        together = reference | prediction
        box: tuple[slice, ...] = (slice(0, 1),) * reference.ndim
        if together.any():
            # room for the dilated lesions, as far as the image has it
            box = tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in bounding_box(together))
        self.masks = reference[box], prediction[box]

    @cached_property
    def reference(self) -> Components:
        """Lesions of the reference as panoptica takes them: 26 neighbours, but in 2d only the 4 by a side."""
        return components(self.masks[0], 4 if self.masks[0].ndim == 2 else 26)

    @cached_property
    def prediction(self) -> Components:
        """Lesions of the prediction in the same way."""
        return components(self.masks[1], 4 if self.masks[1].ndim == 2 else 26)

    @property
    def numbers(self) -> tuple[int, int]:
        """Numbers of lesions in reference and prediction."""
        return self.reference.number, self.prediction.number

    @cached_property
    def shared(self) -> Overlaps:
        """Voxels that lesions of both sides share."""
        return overlaps(self.reference.labels, self.prediction)

    @cached_property
    def dice(self) -> np.ndarray:
        """Dice of each pair of ``shared``."""
        return dice_of_overlaps(self.reference, self.prediction, self.shared)


def score_lesions(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], settings: LesionSettings
) -> tuple[dict[str, Any], list[Lesion]]:
    """Lesion-wise metrics of a region, and its lesions as detection counts them.

    Args:
        reference: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        prediction: Boolean mask of the same shape.
        spacing: Voxel spacing in mm in the order of the axes.
        settings: What to compute; without a task, ``"brats2023"`` is that of gliomas.
    """
    pair = LesionPair(reference, prediction, spacing)
    metrics: dict[str, Any] = {"lesions": settings.name}
    if settings.definition == "brats2023":
        metrics |= brats2023_scores(pair, TASKS[settings.task or "gli"])
    elif settings.definition == "brats2025":
        metrics |= brats2025_scores(pair)
    lesions = detect(pair, match_dice=settings.match_dice, min_lesion_mm3=settings.min_lesion_mm3)
    return {
        **metrics,
        **detection_counts([lesion.kind for lesion in lesions]),
        "match_dice": settings.match_dice,
        "min_lesion_mm3": settings.min_lesion_mm3,
    }, lesions


def lesion_dice(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], settings: LesionSettings
) -> float:
    """``lesion_dice`` of :func:`score_lesions` alone, without the distances, which take most of its time.

    Args:
        reference: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        prediction: Boolean mask of the same shape.
        spacing: Voxel spacing in mm in the order of the axes.
        settings: ``"brats2023"`` or ``"brats2025"``.
    """
    pair = LesionPair(reference, prediction, spacing)
    if settings.definition == "brats2023":
        return brats2023_scores(pair, TASKS[settings.task or "gli"], with_distances=False)["lesion_dice"]
    return brats2025_scores(pair, with_distances=False)["lesion_dice"]


def brats2023_scores(pair: LesionPair, rules: TaskRules, *, with_distances: bool = True) -> dict[str, float | int]:
    """Lesion-wise Dice and HD95 of BraTS 2023 and 2024.

    Lesions of the reference that touch after dilation are one. All predicted components that touch a dilated lesion are
    its prediction together, and one may belong to several lesions; Dice and HD95 (``directed``) are those of the lesion
    itself, not of the dilated one. Small lesions leave the mean, but a component that touches one is not surplus. Each
    surplus component counts Dice 0 and HD95 374 mm, as each missed lesion does. Nothing left to count is Dice 1 and
    HD95 0.

    Args:
        pair: The two masks.
        rules: Those of the task.
        with_distances: Compute HD95; without, it is left out.

    Returns:
        ``lesion_dice``, ``lesion_hd95`` and the numbers of lesions ``lesion_tp``, ``lesion_fp``, ``lesion_fn``.
    """
    lesions, dilated = merge_by_dilation(pair.masks[0], rules.dilations)
    predicted = pair.prediction if pair.masks[1].ndim == 3 else touching_components(pair.masks[1])
    touching = overlaps(dilated, predicted)
    shared = overlaps(lesions.labels, predicted)
    surplus = predicted.number - len(np.unique(touching.prediction))
    counted = np.flatnonzero(lesions.sizes * math.prod(pair.spacing) > rules.max_ignored)
    surfaces = _Surfaces(lesions, predicted, pair.spacing)
    dice, hd95, missed = [0.0] * surplus, [BRATS2023_PENALTY] * surplus, 0
    for lesion in counted:
        parts = touching.prediction[touching.reference == lesion]
        if not len(parts):
            missed += 1
            dice.append(0.0)
            hd95.append(BRATS2023_PENALTY)
            continue
        in_common = shared.voxels[shared.reference == lesion].sum()
        dice.append(float(2 * in_common / (lesions.sizes[lesion] + predicted.sizes[parts].sum())))
        if with_distances:
            hd95.append(surfaces.directed_hd95(int(lesion), tuple(parts.tolist())))
    mean_hd95 = {"lesion_hd95": float(np.mean(hd95)) if hd95 else 0.0}
    return {
        "lesion_dice": float(np.mean(dice)) if dice else 1.0,
        **(mean_hd95 if with_distances else {}),
        "lesion_tp": len(counted) - missed,
        "lesion_fp": surplus,
        "lesion_fn": missed,
    }


def brats2025_scores(pair: LesionPair, *, with_distances: bool = True) -> dict[str, float | int]:
    """Lesion-wise Dice, surface Dice and HD95 of BraTS 2025 and 2026.

    Components are matched one to one so that the sum of Dice is largest (see
    :func:`nnunet_ext.evaluation.lesion_matching.match_one_to_one`). HD95 is
    ``pooled``, the surface Dice counts border voxels within the smallest spacing. No dilation and no smallest size.

    Args:
        pair: The two masks.
        with_distances: Compute surface Dice and HD95; without, they are left out.

    Returns:
        ``lesion_dice``, ``lesion_nsd`` and ``lesion_hd95`` are means over matched, missed and surplus lesions; the last
        two count 0, 0 and 373 mm. ``matched_lesion_dice`` and so on are means over the matched lesions alone, which
        panoptica calls ``sq_dsc``; without any, they are 0, 0 and 373 mm. All are NaN where both masks are empty.
        ``lesion_tp``, ``lesion_fp`` and ``lesion_fn`` are numbers of lesions.
    """
    first, second, shared = pair.reference, pair.prediction, pair.shared
    matched = match_one_to_one(pair.numbers, shared, pair.dice, BRATS2025_MIN_DICE)
    scores: dict[str, list[float]] = {"dice": pair.dice[matched].tolist()}
    if with_distances:
        scores |= {"nsd": [], "hd95": []}
    if with_distances and len(matched):
        borders = [border_surfaces(side.labels, side.number, pair.spacing) for side in (first, second)]
        for index in matched:
            distances = surface_distances(borders[0][shared.reference[index]], borders[1][shared.prediction[index]])
            scores["nsd"].append(surface_dice_by_voxels(distances, min(pair.spacing)))
            scores["hd95"].append(pooled_percentile_95(distances))
    unmatched = first.number + second.number - 2 * len(matched)
    penalty = {"dice": 0.0, "nsd": 0.0, "hd95": BRATS2025_PENALTY}
    nothing = first.number + second.number == 0
    result: dict[str, float | int] = {}
    for metric, values in scores.items():
        result[f"lesion_{metric}"] = _mean([*values, *[penalty[metric]] * unmatched])
        result[f"matched_lesion_{metric}"] = math.nan if nothing else _mean(values or [penalty[metric]])
    return {
        **result,
        "lesion_tp": len(matched),
        "lesion_fp": second.number - len(matched),
        "lesion_fn": first.number - len(matched),
    }


def detect(pair: LesionPair, *, match_dice: float = BRATS2025_MIN_DICE, min_lesion_mm3: float = 0.0) -> list[Lesion]:
    """Lesions found, missed and surplus, matched one to one as in :func:`brats2025_scores`.

    Args:
        pair: The two masks.
        match_dice: Smallest Dice of two lesions that belong together.
        min_lesion_mm3: A lesion of the reference that is smaller is left out, together with its match; so is a surplus
            one that is smaller. In mm³, in 2d mm².
    """
    shared = pair.shared
    matched = match_one_to_one(pair.numbers, shared, pair.dice, match_dice)
    volumes, predicted_volumes = (side.sizes * math.prod(pair.spacing) for side in (pair.reference, pair.prediction))
    pair_of = dict(zip(shared.reference[matched].tolist(), matched.tolist(), strict=True))
    lesions = []
    for index, volume in enumerate(volumes.tolist()):
        if index in pair_of:
            match = pair_of[index]
            predicted = float(predicted_volumes[shared.prediction[match]])
            lesions.append(Lesion("found", volume, predicted, float(pair.dice[match])))
        else:
            lesions.append(Lesion("missed", volume, 0.0, 0.0))
    surplus = np.delete(predicted_volumes, shared.prediction[matched]).tolist()
    lesions += [Lesion("surplus", volume, volume, 0.0) for volume in surplus]
    return [lesion for lesion in lesions if lesion.volume >= min_lesion_mm3]


def detection_counts(kinds: Sequence[str]) -> dict[str, float | int]:
    """Numbers of lesions, and F1, sensitivity and precision, NaN where they are not defined.

    Args:
        kinds: ``"found"``, ``"missed"`` or ``"surplus"`` of each lesion.
    """
    found, missed, surplus = (sum(kind == word for kind in kinds) for word in ("found", "missed", "surplus"))
    return {
        "lesions_found": found,
        "lesions_missed": missed,
        "lesions_surplus": surplus,
        "lesion_f1": 2 * found / (2 * found + missed + surplus) if kinds else math.nan,
        "lesion_sensitivity": found / (found + missed) if found + missed else math.nan,
        "lesion_precision": found / (found + surplus) if found + surplus else math.nan,
    }


class _Surfaces:
    """Surfaces of a region's lesions and predicted components, made when the first pair asks for them."""

    def __init__(self, lesions: Components, predicted: Components, spacing: Sequence[float]) -> None:
        self.sides = lesions, predicted
        self.spacing = spacing
        self.surfaces: tuple[list[Surface], list[Surface]] | None = None
        self.unions: dict[tuple[int, ...], Surface] = {}

    def directed_hd95(self, lesion: int, parts: tuple[int, ...]) -> float:
        """HD95 between a lesion and several predicted components together."""
        if self.surfaces is None:
            first, second = (corner_surfaces(side.labels, side.number, self.spacing) for side in self.sides)
            self.surfaces = first, second
        if parts not in self.unions:
            self.unions[parts] = union([self.surfaces[1][part] for part in parts])
        return directed_percentile_95(surface_distances(self.surfaces[0][lesion], self.unions[parts]))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
