"""What a choice of thresholds is worth on cases that it was not made on: leave-one-out, with an interval.

A threshold that is chosen and scored on the same cases looks better than it is, most of all where few cases decide. So
each case is scored with what is chosen on all others.
"""

from dataclasses import dataclass

import numpy as np

NUM_BOOTSTRAP_SAMPLES = 9999
BOOTSTRAP_SEED = 0  # the same predictions give the same interval
EQUAL = 1e-9  # differences of mean Dice below this are rounding


@dataclass(frozen=True)
class Gain:
    """Difference of mean Dice that a choice makes on held-out cases.

    Args:
        mean: The difference.
        low: Lower end of its 95 % interval (bootstrap over cases, percentile method).
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} on cases left out (95 % interval {self.low:+.4f} to {self.high:+.4f})"

    @property
    def is_accepted(self) -> bool:
        """Whether it is a gain whose interval holds no loss.

        An interval that ends at 0 is accepted: so does that of a rule which changes few cases and harms none.
        """
        return self.mean > EQUAL and self.low >= -EQUAL


def mean_over_cases(scores: np.ndarray) -> np.ndarray:
    """Mean over cases of ``(..., cases, regions)``, NaN left out: ``(..., regions)``, NaN where no case has a value."""
    present = ~np.isnan(scores)
    count = present.sum(axis=-2)
    return np.where(count > 0, np.where(present, scores, 0).sum(axis=-2) / np.maximum(count, 1), np.nan)


def mean_score(region_scores: np.ndarray) -> np.ndarray:
    """Mean over the regions that have a value, along the last axis."""
    present = ~np.isnan(region_scores)
    return np.where(present, region_scores, 0).sum(-1) / np.maximum(present.sum(-1), 1)


def scores_without(scores: np.ndarray, case: int) -> np.ndarray:
    """Mean Dice over all cases but one: ``(..., cases, regions)`` to ``(...)``."""
    return mean_score(mean_over_cases(np.delete(scores, case, axis=-2)))


def gain(before: np.ndarray, after: np.ndarray) -> Gain:
    """Difference of mean Dice, after minus before, with its interval.

    Args:
        before: Dice of each held-out case and region, ``(cases, regions)``; NaN where the convention leaves it out.
        after: The same with what was chosen on the other cases.
    """
    num_cases = len(before)
    draws = np.random.default_rng(BOOTSTRAP_SEED).multinomial(
        num_cases, np.full(num_cases, 1 / num_cases), size=NUM_BOOTSTRAP_SAMPLES
    )
    differences = _weighted_score(after, draws) - _weighted_score(before, draws)
    low, high = np.percentile(differences, [2.5, 97.5])
    mean = mean_score(mean_over_cases(after)) - mean_score(mean_over_cases(before))
    return Gain(float(mean), float(low), float(high))


def _weighted_score(scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Mean Dice of each sample of cases; ``draws`` says how often it holds each, ``(samples, cases)``."""
    present = ~np.isnan(scores)
    count = draws @ present
    total = draws @ np.where(present, scores, 0)
    return mean_score(np.where(count > 0, total / np.maximum(count, 1), np.nan))
