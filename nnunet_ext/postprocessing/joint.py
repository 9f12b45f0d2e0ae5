"""All combinations of the thresholds of all rules, where there are not too many."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.postprocessing.case import Before, RuledCase
from nnunet_ext.postprocessing.held_out import EQUAL, gain, mean_over_cases, mean_score, scores_without
from nnunet_ext.postprocessing.rules import Rule
from nnunet_ext.postprocessing.search import Curve, Search, longest_run

MAX_COMBINATIONS = 1_000_000  # of thresholds, times cases: a few minutes and less than 1 GB


def check_is_cheap(thresholds: Sequence[tuple[int, ...]], num_cases: int) -> None:
    """Raise where a joint search would take long.

    Raises:
        InputError: More than ``MAX_COMBINATIONS`` combinations of thresholds and cases.
    """
    number = math.prod(map(len, thresholds)) * num_cases
    if number > MAX_COMBINATIONS:
        most = int((MAX_COMBINATIONS / num_cases) ** (1 / len(thresholds))) - 1
        raise InputError(
            f"--joint: {number} combinations of thresholds and cases, more than {MAX_COMBINATIONS}. "
            f"Name at most {most} thresholds, for example --thresholds 10,50,200,1000, or search without --joint."
        )


def search_jointly(cases: Sequence[RuledCase], rules: Sequence[Rule], thresholds: Sequence[tuple[int, ...]]) -> Search:
    """Search the combination of thresholds with the best mean Dice; it is accepted or refused as a whole.

    With each case left out, the combination is chosen on the other cases, and the case is scored with it. Of several
    best combinations it is, rule after rule, the one without the rule, else the middle of the longest run.

    Args:
        cases: At least two.
        rules: In the order of application.
        thresholds: Thresholds of each rule, ascending from 0.
    """
    scores = np.stack([_scores_of_case(case, thresholds, "scores") for case in cases], axis=-2)
    dice = np.stack([_scores_of_case(case, thresholds, "dice") for case in cases], axis=-2)
    picked, is_best = _best(mean_score(mean_over_cases(scores)))
    without = [_best(scores_without(scores, case))[0] for case in range(len(cases))]
    none = (0,) * len(rules)
    held_out = None
    if any(picked):
        held_out = gain(scores[none], np.stack([scores[step][case] for case, step in enumerate(without)]))
    accepted = held_out is not None and held_out.is_accepted
    curves = []
    path: Before = ()
    for index, rule in enumerate(rules):
        steps = thresholds[index]
        along: tuple[Any, ...] = (*picked[:index], slice(None), *picked[index + 1 :])
        changed = np.stack([case.curve(index, path).num_removed > 0 for case in cases])
        step = picked[index]
        plateau = None
        if step:
            first, last = longest_run(is_best[along])
            plateau = steps[first], steps[last]
            path += ((index, step),)
        curves.append(
            Curve(
                rule=rule,
                thresholds=steps,
                case_scores=scores[along],
                case_dice=dice[along],
                cases_changed=tuple(changed.sum(axis=0).tolist()),
                best=steps[step] or None,
                plateau=plateau,
                held_out=None,
                held_out_thresholds=tuple(steps[other[index]] or None for other in without),
                applied=accepted and step > 0,
            )
        )
    before = float(mean_score(mean_over_cases(scores[none])))
    after = float(mean_score(mean_over_cases(scores[picked]))) if accepted else before
    return Search(tuple(curves), before, after, held_out)


def _scores_of_case(
    case: RuledCase, thresholds: Sequence[tuple[int, ...]], kind: Literal["scores", "dice"], before: Before = ()
) -> np.ndarray:
    """Scores with every combination of the thresholds of the rules that are left, ``(*thresholds, regions)``."""
    index = len(before)
    curve = case.curve(index, before)
    if index == len(thresholds) - 1:
        scores: np.ndarray = getattr(curve, kind)
        return scores
    of_number = {
        int(number): _scores_of_case(
            case, thresholds, kind, (*before, (index, int(np.argmax(curve.num_removed == number))))
        )
        for number in np.unique(curve.num_removed)
    }
    return np.stack([of_number[int(number)] for number in curve.num_removed])


def _best(scores: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Indices of the best combination, and which combinations are as good."""
    is_best = scores >= scores.max() - EQUAL
    left, picked = is_best, []
    while left.ndim:
        axis = left.any(axis=tuple(range(1, left.ndim)))
        first, last = (0, 0) if axis[0] else longest_run(axis)
        picked.append((first + last) // 2)
        left = left[picked[-1]]
    return tuple(picked), is_best
