"""Curves of the QU-BraTS challenge in closed form."""

import numpy as np
import pytest

from nnunet_ext.evaluation.uncertainty_curves import THRESHOLDS, curves

REFERENCE = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
PREDICTION = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
EVERYWHERE = np.ones(8, bool)


def at(curve, threshold):
    return curve[np.flatnonzero(np.isclose(THRESHOLDS, threshold))[0]]


def test_thresholds_are_those_of_the_challenge():
    assert (len(THRESHOLDS), THRESHOLDS[0], THRESHOLDS[1], THRESHOLDS[-1]) == (41, 0, 0.025, 1)


def test_only_voxels_above_the_threshold_are_taken_out():
    #                       tp   tp   fn   fp   tn   tn   tn   tn
    uncertainty = np.array([0.1, 0.6, 0.9, 0.5, 0.0, 0.0, 0.0, 0.8])
    found = curves(REFERENCE, PREDICTION, uncertainty, EVERYWHERE)
    assert at(found.dice, 1) == pytest.approx(4 / 6)
    assert at(found.dice, 0.8) == pytest.approx(4 / 5)  # without the missed voxel
    assert at(found.dice, 0.5) == pytest.approx(2 / 3)  # the one at .5 is not above it
    assert at(found.dice, 0.475) == 1
    assert at(found.dice, 0) == 1  # nothing is left of either
    assert [at(found.filtered_tp, value) for value in (1, 0.6, 0.575, 0.1, 0.075)] == [0, 0, 0.5, 0.5, 1]
    assert [at(found.filtered_tn, value) for value in (1, 0.8, 0.775, 0)] == [0, 0, 0.25, 0.25]


def test_perfect_uncertainty_has_the_best_score_there_is():
    wrong = (REFERENCE ^ PREDICTION).astype(float)
    areas = curves(REFERENCE, PREDICTION, wrong, EVERYWHERE).areas()
    step = 1 / 40
    # at threshold 1 nothing is filtered yet
    assert areas["dice_auc"] == pytest.approx(1 - step / 2 * (1 - 4 / 6))
    assert (areas["filtered_tp_auc"], areas["filtered_tn_auc"]) == (0, 0)
    assert areas["qu_score"] == pytest.approx((areas["dice_auc"] + 2) / 3)


def test_score_falls_by_what_is_taken_out_in_vain():
    areas = curves(REFERENCE, PREDICTION, np.ones(8), EVERYWHERE).areas()
    # all is gone below threshold 1, so that what is left has Dice 1
    assert areas["filtered_tp_auc"] == pytest.approx(1 - 1 / 80)
    assert areas["filtered_tn_auc"] == pytest.approx(1 - 1 / 80)
    assert areas["qu_score"] == pytest.approx((areas["dice_auc"] + 2 / 80) / 3)


def test_true_negatives_count_in_the_head_alone():
    uncertainty = np.array([0, 0, 0, 0, 1.0, 0, 0, 0])
    head = np.array([1, 1, 1, 1, 1, 1, 0, 0], bool)
    assert curves(REFERENCE, PREDICTION, uncertainty, head).filtered_tn[0] == 0.5
    assert curves(REFERENCE, PREDICTION, uncertainty, EVERYWHERE).filtered_tn[0] == 0.25


def test_empty_masks():
    found = curves(np.zeros(8, bool), np.zeros(8, bool), np.ones(8), EVERYWHERE)
    assert found.dice.tolist() == [1] * 41
    assert found.filtered_tp.tolist() == [0] * 41
