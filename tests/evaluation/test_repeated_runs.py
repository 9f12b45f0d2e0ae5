"""Mean and standard deviation over repeated runs."""

import math

import numpy as np
import pandas as pd
import pytest

from nnunet_ext.evaluation.repeated_runs import interval_over_runs, over_runs


def run(**dice):
    """Rows of ``metrics.csv`` of one run: region -> Dice of each case; volume differences are twice as large."""
    return pd.DataFrame(
        {"case": f"case_{i}", "region": region, "dice": value, "relative_volume_difference": 2 * value}
        for region, values in dice.items()
        for i, value in enumerate(values)
    )


def test_mean_and_deviation_are_those_of_the_runs_not_of_the_cases():
    runs = [run(mass=[0.6, 0.8], cyst=[0.5, 0.5]), run(mass=[0.9, 0.5], cyst=[0.3, 0.1]), run(mass=[1, 1], cyst=[1, 1])]
    result = over_runs(runs).set_index(["region", "metric"])
    # runs' means .7, .7, 1: mean .8, deviation sqrt((.01 + .01 + .04) / 2)
    assert result.loc[("mass", "dice")].tolist() == pytest.approx([3, 0.8, math.sqrt(0.03)])
    # .5, .2, 1
    assert result.loc[("cyst", "dice")].tolist() == pytest.approx([3, 1.7 / 3, 0.404145], rel=1e-5)
    assert result.loc[("mass", "relative_volume_difference")].tolist() == pytest.approx([3, 1.6, 2 * math.sqrt(0.03)])
    assert result.index.get_level_values("region").unique().tolist() == ["mass", "cyst"]


def test_cases_and_runs_without_a_value_do_not_count():
    result = over_runs([run(mass=[0.4, math.nan]), run(mass=[math.nan, math.nan]), run(mass=[0.6, 0.6])])
    assert result.iloc[0].tolist() == ["mass", "dice", 2, pytest.approx(0.5), pytest.approx(math.sqrt(0.02))]
    assert math.isnan(over_runs([run(mass=[0.4])])["std"].iloc[0])


@pytest.mark.parametrize(
    ("values", "minus", "expected"),
    [
        # two cases: both drawn samples of a mean are 0 or 1 in a quarter of all draws each
        ([[0, 1], [0, 1]], None, (0, 1)),
        # two runs alone differ: the cases' means are .5 and would give .5 to .5
        ([[0, 0], [1, 1]], None, (0, 1)),
        # the same cases on both sides: 0 in each draw
        ([[0, 1]], [[0, 1]], (0, 0)),
        # runs are drawn on each side apart: 1 - 0 and 0 - 1 in a sixteenth each
        ([[0, 0], [1, 1]], [[0, 0], [1, 1]], (-1, 1)),
        ([[math.nan, math.nan], [0.4, 0.4]], [[0.1, 0.1]], (0.3, 0.3)),
        ([[0.5], [0.6]], None, (math.nan, math.nan)),
        ([[math.nan, math.nan]], None, (math.nan, math.nan)),
    ],
)
def test_interval_draws_runs_and_cases_anew(values, minus, expected):
    interval = interval_over_runs(np.array(values, float), None if minus is None else np.array(minus, float))
    assert interval == pytest.approx(expected, nan_ok=True)
