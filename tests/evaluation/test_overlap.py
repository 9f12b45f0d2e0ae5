"""Overlap metrics against hand-computed values and MedPy."""

import math

import numpy as np
import pytest
from medpy.metric import binary

from nnunet_ext.evaluation.overlap import (
    Counts,
    count_voxels,
    dice,
    relative_volume_difference,
    sensitivity,
    specificity,
)

COUNTS = Counts(tp=6, fp=2, fn=4, tn=88)


def test_counts_of_a_hand_made_pair():
    reference = np.array([[1, 1, 0, 0]], dtype=bool)
    prediction = np.array([[1, 0, 1, 0]], dtype=bool)
    assert count_voxels(reference, prediction, num_scored=4) == Counts(tp=1, fp=1, fn=1, tn=1)


def test_ignored_voxels_are_not_true_negatives():
    mask = np.zeros((2, 5), dtype=bool)
    assert count_voxels(mask, mask, num_scored=7).tn == 7


@pytest.mark.parametrize(
    ("metric", "expected"),
    [(dice, 12 / 18), (sensitivity, 6 / 10), (specificity, 88 / 90), (relative_volume_difference, 2 / 10)],
)
def test_hand_computed_value(metric, expected):
    assert metric(COUNTS) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_medpy(seed):
    generator = np.random.default_rng(seed)
    reference, prediction = generator.random((2, 6, 7, 8)) < 0.3
    counts = count_voxels(reference, prediction, reference.size)
    assert dice(counts) == pytest.approx(binary.dc(prediction, reference))
    assert sensitivity(counts) == pytest.approx(binary.sensitivity(prediction, reference))
    assert specificity(counts) == pytest.approx(binary.specificity(prediction, reference))
    assert relative_volume_difference(counts) == pytest.approx(abs(binary.ravd(prediction, reference)))


@pytest.mark.parametrize(
    ("metric", "counts"),
    [
        (dice, Counts(0, 0, 0, 9)),
        (sensitivity, Counts(0, 3, 0, 6)),
        (specificity, Counts(5, 0, 4, 0)),
        (relative_volume_difference, Counts(0, 3, 0, 6)),
    ],
)
def test_undefined_metric_is_nan(metric, counts):
    assert math.isnan(metric(counts))
