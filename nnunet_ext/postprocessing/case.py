"""Dice of one case under every threshold of a rule, after any rules before it.

No image is written or scored anew for a threshold: a rule takes whole parts (components, or the region) from their
labels to its replacement, so that one count of voxels by part, reference and prediction gives the Dice at all of
them. Lesion-wise Dice has no such shortcut: it is computed once for every number of parts removed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.case import read_pair
from nnunet_ext.evaluation.conventions import CONVENTIONS
from nnunet_ext.evaluation.hausdorff import bounding_box
from nnunet_ext.evaluation.lesions import LesionSettings, lesion_dice
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.postprocessing.rules import Rule

# Rules applied in front of another: (index of the rule, index of its threshold) each
Before = tuple[tuple[int, int], ...]


class CaseCurve(NamedTuple):
    """What a rule does to a case at each threshold.

    Attributes:
        scores: What thresholds are chosen by, Dice or lesion-wise Dice of each region, ``(thresholds, regions)``; NaN
            where the case is left out.
        dice: Dice of each region under the convention, ``(thresholds, regions)``; NaN where it leaves the case out.
        num_removed: Parts removed, ``(thresholds,)``.
    """

    scores: np.ndarray
    dice: np.ndarray
    num_removed: np.ndarray


@dataclass(frozen=True)
class LesionScore:
    """Lesion-wise Dice of each region of a case, from label maps.

    Args:
        settings: ``"brats2023"`` or ``"brats2025"``, with a task.
        labels: The data set's labels.
        spacing: Voxel spacing in mm in the order of the axes; two numbers for ``(1, Y, X)`` mark an image in 2d.
    """

    settings: LesionSettings
    labels: DatasetLabels
    spacing: tuple[float, ...]

    def __call__(self, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Scores, ``(regions,)``; NaN where the definition leaves the case out."""
        if len(self.spacing) == 2:
            reference, prediction = reference[0], prediction[0]
        scored = np.ones(reference.shape, bool)
        if self.labels.ignore_label is not None:
            scored = reference != self.labels.ignore_label
        return np.array(
            [
                lesion_dice(
                    region.mask(reference) & scored, region.mask(prediction) & scored, self.spacing, self.settings
                )
                for region in self.labels.regions
            ]
        )


class RuledCase:
    """One case, and what rules do to it; each state of it is computed once.

    Args:
        reference: Label map, ``(Z, Y, X)``.
        prediction: Label map of the same shape.
        rules: Rules in the order of application.
        thresholds: Thresholds of each rule in voxels, ascending; the first is 0, which changes nothing.
        labels: The data set's labels; voxels of the reference with the ignore label are not scored.
        convention: Name of one of ``CONVENTIONS``.
        lesion_score: What thresholds are chosen by in place of Dice.
    """

    def __init__(
        self,
        reference: np.ndarray,
        prediction: np.ndarray,
        rules: Sequence[Rule],
        thresholds: Sequence[Sequence[int]],
        labels: DatasetLabels,
        convention: str,
        lesion_score: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ):
        self._lesion_score = lesion_score
        ignored = set() if labels.ignore_label is None else {labels.ignore_label}
        self._values = np.array(sorted(labels.values | ignored))
        self._is_ignored = np.isin(self._values, list(ignored))
        self._in_region = np.stack([region.mask(self._values) for region in labels.regions]).astype(np.int64)
        self._both_empty = CONVENTIONS[convention].both_empty
        self._reference, self._prediction = reference, prediction
        self._rules, self._thresholds = rules, thresholds
        self._curves: dict[tuple[int, Before], CaseCurve] = {}

    def curve(self, rule: int, before: Before = ()) -> CaseCurve:
        """Scores of a rule at every threshold.

        Args:
            rule: Index of the rule.
            before: Rules applied before it, in order.
        """
        key = rule, self._with_effect(before)
        if key not in self._curves:
            self._curves[key] = self._computed(*key)
        return self._curves[key]

    def _with_effect(self, path: Before) -> Before:
        """The rules of a path that change this case, each with the smallest threshold that changes it equally."""
        result: Before = ()
        for rule, index in path:
            num_removed = self.curve(rule, result).num_removed
            if num_removed[index]:
                result += ((rule, int(np.argmax(num_removed == num_removed[index]))),)
        return result

    def _computed(self, rule: int, before: Before) -> CaseCurve:
        segmentation = self._prediction
        for earlier, index in before:
            segmentation = self._rules[earlier].apply(segmentation, self._thresholds[earlier][index])
        thresholds = np.asarray(self._thresholds[rule])
        # voxels that are background in both, which are most, are in no region
        foreground = (self._reference > 0) | (segmentation > 0)
        parts = self._rules[rule].parts(segmentation)[foreground]
        size = np.bincount(parts, minlength=1)
        # index of the first threshold that removes a part; the number of thresholds where none does
        removed_from = np.searchsorted(thresholds, size, side="right")
        if self._rules[rule].keep_largest:
            removed_from[size == size[1:].max(initial=0)] = len(thresholds)
        removed_from[0] = len(thresholds)
        n = len(self._values)
        true, predicted = (np.searchsorted(self._values, of[foreground]) for of in (self._reference, segmentation))
        counts = np.bincount(
            removed_from[parts] * n**2 + true * n + predicted, minlength=(len(thresholds) + 1) * n**2
        ).reshape(-1, n, n)
        counts[:, self._is_ignored] = 0
        removed = counts[:-1].cumsum(axis=0)  # (thresholds, reference, prediction)
        tables = counts.sum(axis=0) - removed
        replacement = int(np.searchsorted(self._values, self._rules[rule].kwargs["replacement"]))
        tables[:, :, replacement] += removed.sum(axis=2)
        num_removed = np.bincount(removed_from[1:], minlength=len(thresholds) + 1)[:-1].cumsum()
        dice = self._dice(tables)
        if self._lesion_score is None:
            return CaseCurve(dice, dice, num_removed)
        scores = np.empty_like(dice)
        for number in np.unique(num_removed):
            same = num_removed == number
            changed = self._rules[rule].apply(segmentation, int(thresholds[same][0])) if number else segmentation
            scores[same] = self._lesion_score(self._reference, changed)
        return CaseCurve(scores, dice, num_removed)

    def _dice(self, tables: np.ndarray) -> np.ndarray:
        """Dice of each region from counts of voxels, ``(thresholds, reference, prediction)``."""
        true_positive = np.einsum("ri,tij,rj->tr", self._in_region, tables, self._in_region)
        sizes = (tables.sum(axis=2) + tables.sum(axis=1)) @ self._in_region.T
        return np.where(sizes > 0, 2 * true_positive / np.maximum(sizes, 1), self._both_empty)


class CroppedPair(NamedTuple):
    """Label maps of a case, ``(Z, Y, X)``, and the spacing in mm of the axes that its images have, two or three."""

    reference: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, ...]


def read_cropped_pair(reference: Path, prediction: Path, labels: DatasetLabels) -> CroppedPair:
    """Label maps of a case, cropped to what is not background in either (components do not change).

    Raises:
        InputError: A file cannot be used, or the two do not fit together.
    """
    images, problems = read_pair(reference, prediction, labels)
    if problems:
        raise InputError(problems)
    truth, predicted = (np.atleast_3d(image.labels.T).T for image in images)  # 2d: (1, Y, X), as nnU-Net has it
    foreground = (truth > 0) | (predicted > 0)
    box = bounding_box(foreground) if foreground.any() else (slice(0, 1),) * 3
    return CroppedPair(truth[box].copy(), predicted[box].copy(), images[0].spacing)
