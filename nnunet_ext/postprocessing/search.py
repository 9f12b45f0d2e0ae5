"""Which threshold of a post-processing rule gives the best mean Dice on a set of cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_ext.evaluation.conventions import CONVENTIONS
from nnunet_ext.evaluation.overlap import count_voxels, dice
from nnunet_ext.labels.dataset_labels import DatasetLabels, Region
from nnunet_ext.postprocessing.small_components import label_components, remove_small_components
from nnunet_ext.postprocessing.small_regions import replace_small_region

# Voxels; about three a factor of two. 10 is the paper's for components; BraTS papers report 200 to 500 for enhancing
# tumour.
THRESHOLDS = (2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000)
EQUAL = 1e-9  # differences of mean Dice below this are rounding


@dataclass(frozen=True)
class Rule:
    """A post-processing function without its threshold.

    Args:
        function: :func:`remove_small_components` or :func:`replace_small_region`.
        region: What it works on.
        kwargs: Its arguments but ``min_voxels``.
    """

    function: Callable[..., np.ndarray]
    region: Region
    kwargs: dict[str, Any]

    def apply(self, segmentation: np.ndarray, min_voxels: int) -> np.ndarray:
        """The rule with a threshold."""
        return self.function(segmentation, min_voxels=min_voxels, **self.kwargs)

    def sizes(self, segmentation: np.ndarray) -> np.ndarray:
        """Sizes in voxels that the threshold is compared with: of each component, or of the region."""
        if self.function is remove_small_components:
            components = label_components(segmentation, self.region.labels, self.kwargs["connectivity"])
            return np.bincount(components.ravel())[1:]
        size = np.count_nonzero(self.region.mask(segmentation))
        return np.array([size] if size else [], dtype=int)


@dataclass(frozen=True)
class Curve:
    """Scores of a rule at every threshold; the first threshold is 0, which changes nothing.

    Args:
        rule: The rule.
        thresholds: In voxels, ascending from 0.
        region_scores: Mean Dice over the cases, ``(thresholds, regions)``; NaN where no case has a value.
        cases_changed: Number of cases that the rule changes at each threshold.
        best: Threshold to use; None where none improves the mean Dice.
        plateau: Smallest and largest threshold with the same score, or None.
    """

    rule: Rule
    thresholds: tuple[int, ...]
    region_scores: np.ndarray
    cases_changed: tuple[int, ...]
    best: int | None
    plateau: tuple[int, int] | None

    @property
    def scores(self) -> np.ndarray:
        """Mean Dice over regions of the mean over cases, for each threshold."""
        return mean_score(self.region_scores)


def mean_score(region_scores: np.ndarray) -> np.ndarray:
    """Mean over the regions that have a value, along the last axis."""
    present = ~np.isnan(region_scores)
    return np.where(present, region_scores, 0).sum(-1) / np.maximum(present.sum(-1), 1)


def rules_for(labels: DatasetLabels, connectivity: int, replacements: Mapping[str, int] | None = None) -> list[Rule]:
    """Rules to try, in order: components of each region from the outermost inwards, then small regions.

    Removed voxels get a label of the smallest region around (tumour core: oedema; enhancing tumour: necrosis), or the
    background where there is none, so that no rule changes a region around its own.

    Args:
        labels: The data set's labels.
        connectivity: As in :func:`remove_small_components`.
        replacements: Region name -> label it gets where it is small; None takes the innermost regions and a label of
            the region around each, and no rule of this kind for plain labels.
    """
    regions = sorted(labels.regions, key=lambda region: -len(region.labels))
    around = {region.name: enclosing_label(region, labels) for region in regions}
    rules = [
        Rule(
            remove_small_components,
            region,
            {"region": region.labels, "replacement": around[region.name], "connectivity": connectivity},
        )
        for region in regions
    ]
    if replacements is None:
        inner = [region for region in regions if not any(set(r.labels) < set(region.labels) for r in regions)]
        replacements = {region.name: around[region.name] for region in inner if around[region.name]}
    rules += [
        Rule(replace_small_region, region, {"region": region.labels, "replacement": replacements[region.name]})
        for region in regions
        if region.name in replacements
    ]
    return rules


def enclosing_label(region: Region, labels: DatasetLabels) -> int:
    """A label of the smallest region that holds this one and more; 0 where there is none."""
    own = set(region.labels)
    around = [set(other.labels) for other in labels.regions if own < set(other.labels)]
    return min(min(around, key=len) - own) if around else 0


def case_scores(reference: np.ndarray, prediction: np.ndarray, labels: DatasetLabels, convention: str) -> np.ndarray:
    """Dice of each region under a convention; voxels of the ignore label are left out."""
    if labels.ignore_label is not None:
        prediction = np.where(reference == labels.ignore_label, 0, prediction)
    scores = []
    for region in labels.regions:
        counts = count_voxels(region.mask(reference), region.mask(prediction), reference.size)
        both_empty = counts.tp + counts.fp + counts.fn == 0
        scores.append(CONVENTIONS[convention].both_empty if both_empty else dice(counts))
    return np.array(scores)


def search(
    rule: Rule,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: DatasetLabels,
    convention: str,
    thresholds: Sequence[int] = THRESHOLDS,
) -> Curve:
    """Score a rule at every threshold.

    Args:
        rule: The rule.
        pairs: Reference and prediction of each case, ``(Z, Y, X)``.
        labels: The data set's labels.
        convention: Name of one of ``CONVENTIONS``.
        thresholds: Thresholds to try, in voxels.
    """
    steps = (0, *sorted(set(thresholds) - {0}))
    scores = np.empty((len(steps), len(pairs), len(labels.regions)))
    changed = np.zeros((len(steps), len(pairs)), dtype=bool)
    for index, (reference, prediction) in enumerate(pairs):
        sizes = np.sort(rule.sizes(prediction))
        removed = np.searchsorted(sizes, steps, side="left")  # number of sizes below each threshold
        changed[:, index] = removed > 0
        for number in np.unique(removed):
            same = removed == number
            result = rule.apply(prediction, steps[int(np.argmax(same))]) if number else prediction
            scores[same, index] = case_scores(reference, result, labels, convention)
    present = ~np.isnan(scores)
    count = present.sum(axis=1)
    region_scores = np.where(count > 0, np.where(present, scores, 0).sum(axis=1) / np.maximum(count, 1), np.nan)
    best, plateau = choose(steps, mean_score(region_scores))
    return Curve(rule, steps, region_scores, tuple(changed.sum(axis=1).tolist()), best, plateau)


def choose(thresholds: Sequence[int], scores: np.ndarray) -> tuple[int | None, tuple[int, int] | None]:
    """Threshold with the best score: the middle of the longest run of equal best scores.

    Args:
        thresholds: Ascending, 0 first.
        scores: Score of each.

    Returns:
        Threshold and the ends of its run; None and None where no score is better than the first.
    """
    is_best = scores >= scores.max() - EQUAL
    if is_best[0]:
        return None, None
    runs: list[list[int]] = []
    for index in np.flatnonzero(is_best):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(int(index))
        else:
            runs.append([int(index)])
    run = max(runs, key=len)
    return thresholds[run[(len(run) - 1) // 2]], (thresholds[run[0]], thresholds[run[-1]])
