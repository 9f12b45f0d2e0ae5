"""Metrics of one case, and the conventions for empty masks."""

import math

import numpy as np
import pytest

from nnunet_ext.evaluation.case import evaluate_masks

FULL = np.zeros((4, 5, 6), dtype=bool)
FULL[1:3, 1:3, 1:3] = True
EMPTY = np.zeros_like(FULL)
NAN = math.nan


def scores(reference, prediction, convention, definition="pooled", spacing=(1, 1, 1)):
    return evaluate_masks(reference, prediction, spacing, reference.size, convention, definition)


# Columns: Dice, sensitivity, HD95, HD95 without penalised cases, relative volume difference
@pytest.mark.parametrize(
    ("convention", "reference", "prediction", "expected"),
    [
        ("brats2020", EMPTY, EMPTY, (1, 1, 0, 0, 0)),
        ("brats2020", EMPTY, FULL, (0, 0, 373.12866, NAN, NAN)),
        ("brats2020", FULL, EMPTY, (0, 0, 373.12866, NAN, 1)),
        ("brats2018", EMPTY, EMPTY, (1, 1, NAN, NAN, 0)),
        ("brats2018", EMPTY, FULL, (0, 0, NAN, NAN, NAN)),
        ("brats2018", FULL, EMPTY, (0, 0, NAN, NAN, 1)),
        ("nan", EMPTY, EMPTY, (NAN, NAN, NAN, NAN, NAN)),
        ("nan", EMPTY, FULL, (0, NAN, NAN, NAN, NAN)),
        ("nan", FULL, EMPTY, (0, 0, NAN, NAN, 1)),
    ],
)
def test_empty_masks_follow_the_convention(convention, reference, prediction, expected):
    result = scores(reference, prediction, convention)
    names = ("dice", "sensitivity", "hd95", "hd95_without_penalty", "relative_volume_difference")
    assert tuple(result[name] for name in names) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("convention", ["brats2020", "brats2018", "nan"])
@pytest.mark.parametrize("definition", ["pooled", "directed"])
def test_perfect_prediction_is_perfect_in_every_convention(convention, definition):
    result = scores(FULL, FULL, convention, definition)
    assert (result["dice"], result["sensitivity"], result["specificity"], result["hd95"]) == (1, 1, 1, 0)
    assert result["hd95_without_penalty"] == 0
    assert (result["convention"], result["hd95_definition"]) == (convention, definition)


@pytest.mark.parametrize(
    ("reference", "prediction", "empty"),
    [(FULL, FULL, "neither"), (EMPTY, EMPTY, "both"), (EMPTY, FULL, "reference"), (FULL, EMPTY, "prediction")],
)
def test_says_which_mask_is_empty(reference, prediction, empty):
    assert scores(reference, prediction, "nan")["empty"] == empty


def test_volumes_are_in_cubic_millimetres():
    result = scores(FULL, EMPTY, "nan", spacing=(2, 1.5, 1))
    assert result["reference_volume"] == pytest.approx(8 * 3)
    assert (result["predicted_volume"], result["volume_unit"]) == (0, "mm3")


def test_areas_are_in_square_millimetres():
    result = scores(FULL[1], FULL[1], "nan", spacing=(2, 1.5))
    assert result["predicted_volume"] == pytest.approx(4 * 3)
    assert result["volume_unit"] == "mm2"


def test_specificity_of_false_positives_on_an_empty_reference():
    assert scores(EMPTY, FULL, "brats2020")["specificity"] == pytest.approx(1 - 8 / 120)
