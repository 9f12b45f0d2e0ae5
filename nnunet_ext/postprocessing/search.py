"""Which thresholds of post-processing rules give the best mean Dice, and what that is worth on other cases."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_ext.postprocessing.case import Before, RuledCase
from nnunet_ext.postprocessing.held_out import EQUAL, Gain, gain, mean_over_cases, mean_score, scores_without
from nnunet_ext.postprocessing.rules import Rule

CLIFF_FACTOR = 2  # how far from a threshold a fall below the score without the rule is a reason to warn


@dataclass(frozen=True)
class Curve:
    """Scores of a rule at every threshold; the first threshold is 0, which changes nothing.

    Args:
        rule: The rule.
        thresholds: In voxels, ascending from 0.
        case_scores: Dice or lesion-wise Dice, what the thresholds are chosen by, of each case and region at each
            threshold, ``(thresholds, cases, regions)``; NaN where a case is left out.
        case_dice: Dice in the same order; the same where the thresholds are chosen by it.
        cases_changed: Number of cases that the rule changes at each threshold.
        best: Threshold with the best mean Dice; None where none improves it.
        plateau: Smallest and largest threshold with the same score around ``best``, or None.
        held_out: Gain on cases that the threshold was not chosen on; None where none improves the score, and where
            thresholds were chosen jointly.
        held_out_thresholds: Threshold chosen without each case, in the order of the cases; None where none improves.
        applied: Whether the rule enters the post-processing.
    """

    rule: Rule
    thresholds: tuple[int, ...]
    case_scores: np.ndarray
    case_dice: np.ndarray
    cases_changed: tuple[int, ...]
    best: int | None
    plateau: tuple[int, int] | None
    held_out: Gain | None
    held_out_thresholds: tuple[int | None, ...]
    applied: bool

    @property
    def region_scores(self) -> np.ndarray:
        """Mean score over the cases, ``(thresholds, regions)``; NaN where no case has a value."""
        return mean_over_cases(self.case_scores)

    @property
    def scores(self) -> np.ndarray:
        """Mean score over regions of the mean over cases, for each threshold."""
        return mean_score(self.region_scores)

    @property
    def best_index(self) -> int:
        """Index of the best threshold; 0 where none improves the score."""
        return 0 if self.best is None else self.thresholds.index(self.best)

    @property
    def in_sample(self) -> float:
        """Gain of the best threshold (of that which harms least, where none improves) on the cases it was chosen on."""
        scores = self.scores
        return float(scores[self.best_index or 1 + int(scores[1:].argmax())] - scores[0])


@dataclass(frozen=True)
class Search:
    """What was found.

    Args:
        curves: A curve a rule, in the order of application.
        before: Mean Dice without any rule.
        after: Mean Dice with the rules that are applied, on the cases that their thresholds were chosen on.
        held_out: Gain of all of them together on held-out cases, also where a joint search refuses the combination;
            None where there is none.
    """

    curves: tuple[Curve, ...]
    before: float
    after: float
    held_out: Gain | None


def search_in_turn(
    cases: Sequence[RuledCase],
    rules: Sequence[Rule],
    thresholds: Sequence[tuple[int, ...]],
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Search:
    """Search the rules one after another, each on the result of those that were accepted before it.

    With each case left out, the thresholds of all rules up to this one are chosen on the other cases, and the case is
    scored with them. A rule is accepted by that gain, see :attr:`Gain.is_accepted`.

    Args:
        cases: At least two.
        rules: In the order of application.
        thresholds: Thresholds of each rule, ascending from 0.
        track: Shows progress over the indices of the rules.
    """
    path: Before = ()
    path_without: list[Before] = [()] * len(cases)
    first = after = np.stack([case.curve(0).scores[0] for case in cases])
    held_out_after = first
    curves = []
    for index in track(range(len(rules))):
        steps = thresholds[index]
        scores_on = {p: _stacked(cases, index, p) for p in {path, *path_without}}
        scores = scores_on[path]
        best, plateau = choose(steps, mean_score(mean_over_cases(scores)))
        chosen_without = [
            choose(steps, scores_without(scores_on[p], case))[0] or 0 for case, p in enumerate(path_without)
        ]
        picked = [steps.index(threshold) for threshold in chosen_without]
        held_out_scores = np.stack([scores_on[p][picked[case], case] for case, p in enumerate(path_without)])
        held_out = gain(held_out_after, held_out_scores) if best is not None else None
        applied = held_out is not None and held_out.is_accepted
        changed = np.stack([case.curve(index, path).num_removed > 0 for case in cases])
        curves.append(
            Curve(
                rule=rules[index],
                thresholds=steps,
                case_scores=scores,
                case_dice=np.stack([case.curve(index, path).dice for case in cases], axis=1),
                cases_changed=tuple(changed.sum(axis=0).tolist()),
                best=best,
                plateau=plateau,
                held_out=held_out,
                held_out_thresholds=tuple(threshold or None for threshold in chosen_without),
                applied=applied,
            )
        )
        if applied and best is not None:
            after, held_out_after = scores[steps.index(best)], held_out_scores
            path += ((index, steps.index(best)),)
            path_without = [(*p, (index, step)) if step else p for p, step in zip(path_without, picked, strict=True)]
    total = gain(first, held_out_after) if path else None
    return Search(tuple(curves), _mean_dice(first), _mean_dice(after), total)


def threshold_series(largest: int) -> tuple[int, ...]:
    """Thresholds from 0 to the first that removes a part of ``largest`` voxels; about three a factor of two."""
    series = [0, 2]
    mantissas = (1, 1.5, 2, 3, 5, 7)
    while series[-1] <= largest:
        decade = 10 ** (len(str(series[-1])) - 1)
        following = (round(mantissa * scale) for scale in (decade, 10 * decade) for mantissa in mantissas)
        series.append(next(value for value in following if value > series[-1]))
    return tuple(series)


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
    first, last = longest_run(is_best)
    return thresholds[(first + last) // 2], (thresholds[first], thresholds[last])


def longest_run(is_best: np.ndarray) -> tuple[int, int]:
    """First and last index of the longest run of true values; at least one is true."""
    runs: list[list[int]] = []
    for index in np.flatnonzero(is_best).tolist():
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    first, last = max(runs, key=lambda run: run[1] - run[0])
    return first, last


@dataclass(frozen=True)
class Cliff:
    """A threshold close to the chosen one at which the rule does harm.

    Args:
        threshold: In voxels.
        loss: Mean Dice lost against the score without the rule.
        case: Index of the case that loses most.
    """

    threshold: int
    loss: float
    case: int


def find_cliff(curve: Curve) -> Cliff | None:
    """The worst threshold within ``CLIFF_FACTOR`` of the best one with a score below that without the rule, or None."""
    if curve.best is None:
        return None
    scores = curve.scores
    near = [
        index
        for index, threshold in enumerate(curve.thresholds)
        if curve.best / CLIFF_FACTOR <= threshold <= curve.best * CLIFF_FACTOR and scores[index] < scores[0] - EQUAL
    ]
    if not near:
        return None
    worst = min(near, key=lambda index: scores[index])
    lost = mean_score(curve.case_scores[curve.best_index]) - mean_score(curve.case_scores[worst])
    return Cliff(curve.thresholds[worst], float(scores[0] - scores[worst]), int(np.argmax(lost)))


def _stacked(cases: Sequence[RuledCase], rule: int, before: Before) -> np.ndarray:
    """Scores of a rule, ``(thresholds, cases, regions)``."""
    return np.stack([case.curve(rule, before).scores for case in cases], axis=1)


def _mean_dice(scores: np.ndarray) -> float:
    return float(mean_score(mean_over_cases(scores)))
