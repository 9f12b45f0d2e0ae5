"""Gains on cases left out."""

import numpy as np
import pytest

from nnunet_ext.postprocessing.held_out import Gain, gain, mean_over_cases, mean_score, scores_without

NAN = np.nan


def test_gain_is_after_minus_before_and_lies_in_its_interval():
    generator = np.random.default_rng(0)
    before = generator.random((40, 3))
    difference = generator.normal(0.1, 0.2, (40, 3))
    found = gain(before, before + difference)
    assert found.mean == pytest.approx(difference.mean())
    expected_width = 2 * 1.96 * difference.mean(axis=1).std() / np.sqrt(40)
    assert found.high - found.low == pytest.approx(expected_width, rel=0.1)
    assert found.low < found.mean < found.high
    assert gain(before, before + difference) == found


def test_cases_without_a_value_are_left_out_of_the_mean():
    before, after = np.array([[0.0, 0.5], [0.8, 0.5]]), np.array([[NAN, 0.5], [0.8, 0.7]])
    # first region: 0.4 -> 0.8; second: 0.5 -> 0.6
    assert gain(before, after).mean == pytest.approx((0.4 + 0.1) / 2)
    assert mean_score(mean_over_cases(np.array([[NAN, 0.4], [NAN, 0.6]]))) == pytest.approx(0.5)


def test_scores_without_a_case_are_the_means_of_the_others():
    scores = np.random.default_rng(1).random((4, 5, 2))
    np.testing.assert_allclose(scores_without(scores, 3), scores[:, [0, 1, 2, 4]].mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        (Gain(0.01, 0.002, 0.02), True),
        (Gain(0.01, 0.0, 0.02), True),  # some cases gain, none loses
        (Gain(0.01, -0.001, 0.02), False),
        (Gain(0.0, 0.0, 0.0), False),
        (Gain(-0.01, -0.02, -0.001), False),
    ],
)
def test_gain_is_accepted_where_its_interval_holds_no_loss(found, accepted):
    assert found.is_accepted is accepted
