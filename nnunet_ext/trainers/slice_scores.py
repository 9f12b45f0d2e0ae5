"""How well the slice classifier does: accuracy, sensitivity and specificity of slices, per region."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.losses.slice_classification import SliceLabels


class SliceScores(NamedTuple):
    """Scores of slices, one number a region in each; nan where no slice is of the kind.

    Attributes:
        accuracy: Slices called rightly among all.
        sensitivity: Slices called positive among those that hold the region.
        specificity: Slices called negative among those that do not.
    """

    accuracy: list[float]
    sensitivity: list[float]
    specificity: list[float]


def count_slices(slice_logits: Tensor, labels: SliceLabels) -> NDArray[np.int64]:
    """Numbers of true positive, false positive, false negative and true negative slices.

    Args:
        slice_logits: ``(B, R, slices)``; above 0 is positive (0.5 after the sigmoid, Sec. 3.3).
        labels: Of the same slices; those that do not count are left out.

    Returns:
        ``(4, R)``.
    """
    called, positive = slice_logits > 0, labels.positive
    counted = labels.counted.expand_as(positive)
    kinds = (called & positive, called & ~positive, ~called & positive, ~called & ~positive)
    return np.stack([(kind & counted).sum((0, 2)).cpu().numpy() for kind in kinds])


def slice_scores(counts: NDArray[np.int64]) -> SliceScores:
    """Scores from the counts of :func:`count_slices`, ``(4, R)``."""
    true_positive, false_positive, false_negative, true_negative = counts
    return SliceScores(
        _ratio(true_positive + true_negative, counts.sum(0)),
        _ratio(true_positive, true_positive + false_negative),
        _ratio(true_negative, true_negative + false_positive),
    )


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> list[float]:
    return [float(p / w) if w else float("nan") for p, w in zip(part, whole, strict=True)]
