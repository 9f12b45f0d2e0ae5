"""Temperatures: probabilities that are more or less sure of themselves and decide the same.

Temperature scaling (Guo et al., ICML 2017) divides logits by a number T. Saved probabilities have no logits any more,
and need none: the sigmoid of logit(p) / T and the softmax of log(p) / T are the same numbers, since a softmax does not
see what is added to all logits of a voxel. What rounding has taken does not come back:

- a region's probability of exactly 1 has lost how far its logit was above 16.6, from where on float32 has no number
  left below 1; it counts as 1 - 2^-25, the middle of what is rounded to 1;
- 0 is a logit below -103, or a voxel outside of nnU-Net's crop, and stays 0.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

SMALLEST = 2.0**-149  # of float32: 0 counts as it where a logarithm is needed
BELOW_ONE = 2.0**-25  # half of the distance from 1 to the float32 below it


def log_probabilities(probabilities: np.ndarray, exclusive: bool, smallest: float = SMALLEST) -> list[np.ndarray]:
    """Logarithms of what is normalised together, in double precision, once for all temperatures.

    Args:
        probabilities: ``(C, ...)`` float32, as saved.
        exclusive: Whether the channels are classes (softmax) or regions of their own (sigmoid).
        smallest: What 0 counts as; with 0 its logarithm is minus infinity.

    Returns:
        For classes one array ``(C, ...)``, for regions one ``(2, ...)`` each: of "outside" and "inside".
    """
    doubles = probabilities.astype(np.float64)
    if exclusive:
        return [np.log(np.maximum(doubles, smallest))]
    return [np.log(np.stack([np.maximum(1 - inside, BELOW_ONE), np.maximum(inside, smallest)])) for inside in doubles]


def tempered(logs: np.ndarray, temperature: float) -> np.ndarray:
    """Logarithms of the probabilities at a temperature.

    Args:
        logs: ``(K, ...)``, one entry of :func:`log_probabilities`.
        temperature: Above 1 makes them less sure, below 1 more.
    """
    divided = logs / temperature
    return divided - logsumexp(divided, axis=0)


def calibrated(probabilities: np.ndarray, temperatures: Sequence[float], exclusive: bool) -> np.ndarray:
    """Probabilities at their temperatures; no label changes, not even where rounding would make a tie of a decision.

    Args:
        probabilities: ``(C, ...)`` float32, as saved.
        temperatures: One a region, or a single one for all classes: with one a class, logits of a voxel would be
            divided by different numbers, and another class could become the largest.
        exclusive: Whether the channels are classes (softmax) or regions of their own (sigmoid).

    Returns:
        ``(C, ...)`` float32.
    """
    with np.errstate(divide="ignore"):
        logs = log_probabilities(probabilities, exclusive, smallest=0)
    parts = [tempered(of_group, temperature) for of_group, temperature in zip(logs, temperatures, strict=True)]
    result = np.exp(parts[0] if exclusive else np.stack([part[1] for part in parts])).astype(np.float32)
    return _with_decisions_of(probabilities, result, exclusive)


def _with_decisions_of(before: np.ndarray, after: np.ndarray, exclusive: bool) -> np.ndarray:
    """Raise what was decided for, by one step of float32, where rounding has taken its lead."""
    above_half = np.nextafter(np.float32(0.5), np.float32(1))
    if not exclusive:
        return np.where(before > 0.5, np.maximum(after, above_half), np.minimum(after, np.float32(0.5)))
    chosen = before.argmax(axis=0)[None]
    moved = after.argmax(axis=0)[None] != chosen
    lead = np.nextafter(after.max(axis=0, keepdims=True), np.float32(2))
    np.put_along_axis(after, chosen, np.where(moved, lead, np.take_along_axis(after, chosen, axis=0)), axis=0)
    return after
