"""AUROC and rank correlation against SciPy's own, and their intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from nnunet_ext.evaluation.case_scores import auroc, case_score_statistics, spearman

SCORE = np.array([0.2, 0.5, 0.5, 0.9, 0.7])
BAD = np.array([True, True, False, False, False])


def test_auroc_counts_pairs_and_half_of_ties():
    assert auroc(SCORE, BAD) == pytest.approx((3 + 2.5) / 6)
    assert auroc(-SCORE, BAD) == pytest.approx(0.5 / 6)
    assert auroc(SCORE, BAD) == pytest.approx(stats.mannwhitneyu(SCORE[~BAD], SCORE[BAD]).statistic / 6)


def test_auroc_needs_a_bad_and_a_good_case():
    assert math.isnan(auroc(SCORE, np.zeros(5, bool)))
    assert math.isnan(auroc(SCORE, np.ones(5, bool)))


def test_spearman_is_scipys():
    generator = np.random.default_rng(0)
    first, second = generator.integers(6, size=(2, 20)).astype(float)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert math.isnan(spearman(first, np.ones(20)))


def test_many_samples_at_once_are_one_by_one():
    generator = np.random.default_rng(0)
    first, second = generator.uniform(size=(2, 7, 9))
    assert spearman(first, second) == pytest.approx(
        [float(spearman(*pair)) for pair in zip(first, second, strict=True)]
    )
    bad = second < 0.5
    assert auroc(first, bad) == pytest.approx([float(auroc(*pair)) for pair in zip(first, bad, strict=True)])


def test_intervals_hold_the_value_and_cases_without_a_dice_are_left_out():
    generator = np.random.default_rng(0)
    dice = generator.uniform(0.4, 1, size=30)
    expected = dice + generator.normal(scale=0.1, size=30)
    found = case_score_statistics(np.append(expected, 0.5), np.append(dice, np.nan))
    assert (found["n"], found["num_bad"]) == (30, int((dice < 0.7).sum()))
    assert found["auroc"] == pytest.approx(auroc(expected, dice < 0.7))
    for name in ("auroc", "spearman"):
        assert 0.3 < found[f"{name}_low"] < found[name] < found[f"{name}_high"] <= 1
    assert found["spearman_high"] - found["spearman_low"] == pytest.approx(0.3, abs=0.2)


def test_what_cannot_be_said_is_not_a_number():
    found = case_score_statistics(np.array([0.9, 0.8]), np.array([0.9, 0.95]))
    assert found["num_bad"] == 0
    assert all(math.isnan(found[name]) for name in ("auroc", "auroc_low", "auroc_high"))
    assert found["spearman"] == pytest.approx(-1)
    assert all(math.isnan(value) for name, value in case_score_statistics(np.array([]), np.array([])).items()
               if name not in ("n", "num_bad"))  # fmt: skip
