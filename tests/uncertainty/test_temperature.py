"""Temperatures change how sure probabilities are, and no decision."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from nnunet_ext.uncertainty.temperature import calibrated

LOGITS = np.random.default_rng(0).normal(scale=4, size=(3, 4, 5, 6))


@pytest.mark.parametrize("temperature", [0.25, 0.8, 1.0, 1.7, 8.0])
def test_probabilities_are_those_of_the_divided_logits(temperature):
    regions = calibrated(expit(LOGITS).astype(np.float32), [temperature, 1.0, 2.0], exclusive=False)
    # the logit of a probability near 1 in float32 is a rounded one
    np.testing.assert_allclose(regions[0], expit(LOGITS[0] / temperature), rtol=2e-3)
    np.testing.assert_allclose(regions[2], expit(LOGITS[2] / 2), rtol=2e-3)
    classes = calibrated(softmax(LOGITS, axis=0).astype(np.float32), [temperature], exclusive=True)
    np.testing.assert_allclose(classes, softmax(LOGITS / temperature, axis=0), rtol=1e-5)


def test_temperature_1_changes_nothing():
    values = softmax(LOGITS, axis=0).astype(np.float32)
    np.testing.assert_allclose(calibrated(values, [1.0], exclusive=True), values, rtol=1e-6)
    values = expit(LOGITS).astype(np.float32)
    np.testing.assert_allclose(calibrated(values, [1.0] * 3, exclusive=False), values, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0, 8.0])
def test_threshold_does_not_move_where_rounding_would_move_it(temperature):
    half = np.float32(0.5)
    steps = [half, np.nextafter(half, np.float32(1)), np.nextafter(half, np.float32(0)), np.float32(0.5000003)]
    values = np.array(steps, np.float32).reshape(1, 4, 1, 1)
    after = calibrated(values, [temperature], exclusive=False)
    assert after.dtype == np.float32
    np.testing.assert_array_equal(after > 0.5, values > 0.5)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0, 8.0])
def test_largest_class_stays_the_largest_where_rounding_would_make_a_tie(temperature):
    third = np.float32(1 / 3)
    values = np.full((3, 2, 1, 1), third, np.float32)
    values[2, 0] = values[1, 1] = np.nextafter(third, np.float32(1))
    after = calibrated(values, [temperature], exclusive=True)
    np.testing.assert_array_equal(after.argmax(0), values.argmax(0))


def test_what_is_saved_as_1_counts_as_the_middle_of_what_is_rounded_to_it():
    values = np.array([1.0, 0.0], np.float32).reshape(1, 2, 1, 1)
    after = calibrated(values, [2.0], exclusive=False).ravel()
    assert after[0] == pytest.approx(expit(logit(1 - 2.0**-25) / 2))
    assert after[1] == 0


def test_voxels_outside_of_the_crop_stay_certain():
    values = np.zeros((3, 1, 1, 1), np.float32)
    values[0] = 1
    np.testing.assert_array_equal(calibrated(values, [8.0], exclusive=True), values)
