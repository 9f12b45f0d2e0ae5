"""Paired differences."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.comparison import compare
from nnunet_ext.evaluation.summary import METRICS


def metrics(values, convention="nan"):
    columns = {metric: values for metric in METRICS}
    cases = [f"c{index}" for index in range(len(values))]
    return pd.DataFrame(
        {"case": cases, "region": "tumour", **columns, "convention": convention, "hd95_definition": "pooled"}
    )


def dice_row(first, second):
    return compare(metrics(first), metrics(second)).set_index("metric").loc["dice"]


def test_difference_is_this_minus_the_other():
    row = dice_row([0.9, 0.8, 0.7], [0.8, 0.8, 0.5])
    assert row.mean_difference == pytest.approx(0.1)
    assert row.n == 3


def test_signed_rank_test_of_eight_equal_signs_has_its_exact_p():
    first = np.linspace(0.5, 0.85, 8)
    assert dice_row(first + np.arange(1, 9) / 100, first).wilcoxon_p == pytest.approx(2 / 2**8)


def test_interval_holds_the_mean_and_is_reproducible():
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 30))
    row, again = dice_row(first, second), dice_row(first, second)
    assert row.ci_low < row.mean_difference < row.ci_high
    assert row.ci_high - row.ci_low == pytest.approx(4 * (first - second).std() / np.sqrt(30), rel=0.15)
    assert (row.ci_low, row.ci_high) == (again.ci_low, again.ci_high)


def test_equal_results_do_not_differ():
    row = dice_row([0.9, 0.8], [0.9, 0.8])
    assert (row.mean_difference, row.ci_low, row.ci_high, row.wilcoxon_p) == (0, 0, 0, 1)


def test_cases_without_a_value_on_either_side_are_left_out():
    row = dice_row([0.9, np.nan, 0.7], [0.8, 0.8, np.nan])
    assert row.n == 1
    assert np.isnan(row.ci_low)


def test_other_cases_raise_with_their_names():
    with pytest.raises(InputError, match="c2"):
        compare(metrics([0.9, 0.8, 0.7]), metrics([0.9, 0.8]))


def test_other_conventions_raise():
    with pytest.raises(InputError, match="different ways"):
        compare(metrics([0.9]), metrics([0.9], "brats2020"))


def test_other_definitions_of_lesions_raise():
    ways = [metrics([0.9]).assign(lesions=name, match_dice=0.1, min_lesion_mm3=0, volume_unit="mm3") for name in "ab"]
    with pytest.raises(InputError, match="lesion-wise scores of a"):
        compare(*ways)
    assert "lesions" not in compare(ways[0], metrics([0.8]))  # what only one says cannot contradict


def test_names_the_definition_of_lesions():
    first = metrics([0.9]).assign(lesions="a", match_dice=0.1, min_lesion_mm3=3, volume_unit="mm3")
    row = compare(first, first).iloc[0]
    assert (row["lesions"], row["lesion_match"]) == ("a", "Dice 0.1 and 3 mm³")
