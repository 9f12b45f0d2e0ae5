"""Overlap metrics of one mask as functions of voxel counts.

A metric that is not defined, because a denominator is 0, is NaN here; what stands in its place is the business of
:mod:`nnunet_ext.evaluation.conventions`.
"""

import math
from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Numbers of voxels that are true positive, false positive, false negative and true negative."""

    tp: int
    fp: int
    fn: int
    tn: int


def count_voxels(reference: np.ndarray, prediction: np.ndarray, num_scored: int) -> Counts:
    """Counts of two boolean masks of the same shape.

    Args:
        reference: Mask without ignored voxels.
        prediction: Mask without ignored voxels.
        num_scored: Number of voxels that are not ignored.
    """
    tp = int(np.count_nonzero(reference & prediction))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(reference)) - tp
    return Counts(tp, fp, fn, num_scored - tp - fp - fn)


def dice(counts: Counts) -> float:
    """``2 TP / (2 TP + FP + FN)``."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def sensitivity(counts: Counts) -> float:
    """``TP / (TP + FN)``, the part of the reference that is found."""
    return _ratio(counts.tp, counts.tp + counts.fn)


def specificity(counts: Counts) -> float:
    """``TN / (TN + FP)``, the part of what is outside the reference that is left out.

    It depends on how much background the image has: in BraTS it is 0.999 for any sensible result.
    """
    return _ratio(counts.tn, counts.tn + counts.fp)


def relative_volume_difference(counts: Counts) -> float:
    """``|V_prediction - V_reference| / V_reference``; in 2d, the relative area difference.

    Li et al. (MICCAI 2019, Table 1) print the "relative area difference" in percent and do not state an equation; this
    is the usual one. Values are fractions here.
    """
    return _ratio(abs(counts.fp - counts.fn), counts.tp + counts.fn)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
