"""How well a score of a case, known without a reference, finds the cases with a bad Dice."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from nnunet_ext.evaluation.comparison import BOOTSTRAP_SEED, NUM_BOOTSTRAP_SAMPLES

BAD_DICE = 0.7
SAMPLES_AT_ONCE = 500


def auroc(score: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Probability that a bad case has a lower score than a good one, ties counting half; NaN without one of each.

    Args:
        score: ``(..., n)``, low where a case is expected to be bad.
        bad: Boolean, of the same shape.
    """
    number, of_bad = bad.shape[-1], bad.sum(axis=-1)
    # ranks of the bad ones from above: Mann and Whitney's U
    ranks = (rankdata(-score, axis=-1) * bad).sum(axis=-1)
    pairs = of_bad * (number - of_bad)
    above = ranks - of_bad * (of_bad + 1) / 2
    return np.divide(above, pairs, out=np.full(np.shape(above), np.nan), where=pairs > 0)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation along the last axis; NaN where one side has no two values that differ."""
    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    centred = [values - values.mean(axis=-1, keepdims=True) for values in ranks]
    covariance = (centred[0] * centred[1]).sum(axis=-1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=-1) * (centred[1] ** 2).sum(axis=-1))
    return np.divide(covariance, scale, out=np.full(np.shape(scale), np.nan), where=scale > 0)


def case_score_statistics(expected: np.ndarray, dice: np.ndarray) -> dict[str, float | int]:
    """AUROC for a Dice below :data:`BAD_DICE` and Spearman's correlation, each with its 95 % bootstrap interval.

    Args:
        expected: Expected Dice of each case, ``(n,)``; cases without one are left out.
        dice: Its Dice; cases without one are left out.

    Returns:
        ``n``, ``num_bad``, ``auroc``, ``auroc_low``, ``auroc_high``, and the same of ``spearman``. Intervals are of
        percentiles over samples of cases; samples in which a value is not defined (no bad case, no good one) are left
        out, and without any the interval is NaN.
    """
    present = np.isfinite(expected) & np.isfinite(dice)
    expected, dice = expected[present], dice[present]
    functions: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "auroc": lambda score, real: auroc(score, real < BAD_DICE),
        "spearman": spearman,
    }
    result: dict[str, float | int] = {"n": len(dice), "num_bad": int((dice < BAD_DICE).sum())}
    for name, function in functions.items():
        result[name] = float(function(expected, dice)) if len(dice) else math.nan
        result[f"{name}_low"], result[f"{name}_high"] = _interval(function, expected, dice)
    return result


def _interval(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], expected: np.ndarray, dice: np.ndarray
) -> tuple[float, float]:
    number = len(dice)
    if number < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    values = []
    for start in range(0, NUM_BOOTSTRAP_SAMPLES, SAMPLES_AT_ONCE):
        chosen = generator.integers(number, size=(min(SAMPLES_AT_ONCE, NUM_BOOTSTRAP_SAMPLES - start), number))
        values.append(function(expected[chosen], dice[chosen]))
    defined = np.concatenate(values)
    defined = defined[np.isfinite(defined)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
