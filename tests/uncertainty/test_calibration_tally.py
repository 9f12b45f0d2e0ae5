"""Scores of probabilities in closed form, and the temperature that explains the truth best."""

import numpy as np
import pytest
from scipy.special import expit

from nnunet_ext.uncertainty.calibration_tally import NUM_BINS, TEMPERATURES, UNCHANGED, no_voxels, tally

ONE_OF_FOUR = np.array([True, False, False, False])


def test_candidates_hold_1_and_reach_from_a_quarter_to_8():
    assert TEMPERATURES[UNCHANGED] == 1
    assert (TEMPERATURES[0], TEMPERATURES[-1]) == (0.25, 8)


def test_scores_of_one_region():
    counted = tally(np.full((1, 4), 0.9, np.float32), ONE_OF_FOUR[None], exclusive=False)
    scores = counted.at([UNCHANGED]).reliability(0)
    assert scores.ece == pytest.approx(0.9 - 0.25)
    assert scores.brier == pytest.approx((0.1**2 + 3 * 0.9**2) / 4)
    assert scores.nll == pytest.approx(-(np.log(0.9) + 3 * np.log(0.1)) / 4)
    assert scores.counts[13] == 4  # .9 is in [13 / 15, 14 / 15)
    assert scores.frequencies[13] == 0.25
    assert counted.objective[0, UNCHANGED] == pytest.approx(4 * scores.nll)


def test_bins_are_weighed_by_their_voxels():
    values = np.array([[0.1, 0.1, 0.1, 0.9]], np.float32)
    scores = tally(values, np.array([[False, False, False, False]]), exclusive=False).at([UNCHANGED]).reliability(0)
    assert scores.ece == pytest.approx((3 * 0.1 + 0.9) / 4)


def test_probability_of_1_is_in_the_last_bin():
    scores = tally(np.ones((1, 2), np.float32), np.ones((1, 2), bool), exclusive=False).at([UNCHANGED]).reliability(0)
    assert scores.counts[NUM_BINS - 1] == 2


def test_classes_share_one_objective_and_are_scored_against_everything_else():
    values = np.array([[0.7, 0.2], [0.2, 0.5], [0.1, 0.3]], np.float32)
    counted = tally(values, np.array([0, 2]), exclusive=True)
    assert counted.objective.shape == (1, len(TEMPERATURES))
    assert counted.objective[0, UNCHANGED] == pytest.approx(-np.log(0.7) - np.log(0.3))
    first, second = (counted.at([UNCHANGED]).reliability(index) for index in range(2))
    assert first.brier == pytest.approx((0.2**2 + 0.5**2) / 2)
    assert first.nll == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2)
    assert second.nll == pytest.approx(-(np.log(0.9) + np.log(0.3)) / 2)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 4.0])
def test_best_temperature_is_the_factor_that_the_logits_are_too_large_by(factor):
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(2, 40000))
    truth = generator.uniform(size=logits.shape) < expit(logits)
    counted = tally(expit(factor * logits).astype(np.float32), truth, exclusive=False)
    np.testing.assert_allclose(TEMPERATURES[counted.best()], factor, rtol=0.1)


def test_sums_of_parts_are_those_of_the_whole():
    generator = np.random.default_rng(0)
    values, truth = generator.dirichlet(np.ones(3), 50).T.astype(np.float32), generator.integers(3, size=50)
    whole = tally(values, truth, exclusive=True)
    parts = (
        no_voxels(2, exclusive=True) + tally(values[:, :20], truth[:20], True) + tally(values[:, 20:], truth[20:], True)
    )
    assert parts.voxels == 50
    np.testing.assert_allclose(parts.objective, whole.objective)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    np.testing.assert_allclose(parts.at([3]).brier, whole.at([3]).brier)
