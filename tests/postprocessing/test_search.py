"""Search for thresholds, and its judgement on cases left out."""

import numpy as np
import pytest
from label_cases import tumour, write_dataset_json

from nnunet_ext.errors import InputError
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.postprocessing.case import RuledCase
from nnunet_ext.postprocessing.joint import check_is_cheap, search_jointly
from nnunet_ext.postprocessing.rules import rules_for
from nnunet_ext.postprocessing.search import choose, find_cliff, search_in_turn, threshold_series

# tumour() has 18 enhancing voxels, 100 in the core and 294 in the whole tumour
WITHOUT = tumour(enhancing=False)
STEPS = (0, 5, 10, 15, 20, 50)


@pytest.fixture
def labels(tmp_path):
    return read_dataset_labels(write_dataset_json(tmp_path))


def few(number):
    """A tumour without enhancing part, in which some voxels are predicted as enhancing."""
    labels = WITHOUT.copy()
    labels[5, 5, 4:7] = 3
    labels[5, 6, 4 : 4 + number - 3] = 3
    return labels


def noise(number):
    """A component of oedema outside the tumour."""
    labels = tumour()
    labels[9, 11, :number] = 2
    return labels


def ruled(labels, pairs, rules, steps=STEPS, convention="brats2020"):
    return [RuledCase(*pair, rules, [steps] * len(rules), labels, convention) for pair in pairs]


def search(labels, pairs, rule, steps=STEPS, function=search_in_turn):
    """Curve of one rule alone."""
    rules = [rules_for(labels, 26)[rule]]
    return function(ruled(labels, pairs, rules, steps), rules, [steps])


@pytest.mark.parametrize(
    ("scores", "best", "plateau"),
    [
        ([0.5, 0.6, 0.5, 0.5, 0.5, 0.5], 2, (2, 2)),
        ([0.5, 0.6, 0.6, 0.6, 0.5, 0.5], 3, (2, 5)),
        ([0.5, 0.6, 0.6, 0.6, 0.6, 0.5], 3, (2, 7)),
        ([0.5, 0.6, 0.5, 0.6, 0.6, 0.6], 7, (5, 10)),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], None, None),
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4], None, None),
        ([0.5, 0.5 + 1e-12, 0.4, 0.4, 0.4, 0.4], None, None),
    ],
)
def test_threshold_is_the_middle_of_the_longest_best_plateau(scores, best, plateau):
    assert choose((0, 2, 3, 5, 7, 10), np.array(scores)) == (best, plateau)


def test_series_ends_with_the_first_threshold_that_removes_the_largest_part():
    assert threshold_series(0) == (0, 2)
    assert threshold_series(14) == (0, 2, 3, 5, 7, 10, 15)
    assert threshold_series(15)[-3:] == (10, 15, 20)
    assert threshold_series(9000)[-4:] == (3000, 5000, 7000, 10000)


@pytest.mark.parametrize("function", [search_in_turn, search_jointly])
def test_rule_that_helps_cases_left_out_is_applied(labels, function):
    pairs = [(WITHOUT, few(3)), (WITHOUT, few(4)), (WITHOUT, few(5)), (tumour(), tumour())]
    (curve,) = search(labels, pairs, 3, function=function).curves
    np.testing.assert_allclose(curve.region_scores[:, 2], [0.25, 0.75, 1, 1, 0.75, 0.75])
    assert (curve.best, curve.plateau, curve.cases_changed) == (10, (10, 15), (0, 2, 3, 3, 4, 4))
    assert curve.scores[0] == pytest.approx((1 + 1 + 0.25) / 3)
    assert curve.in_sample == pytest.approx(0.25)
    assert curve.applied


def test_threshold_that_one_case_decides_is_refused(labels):
    # the rule is only right because of the case that it mends: no other case asks for it
    found = search(labels, [(WITHOUT, few(3)), (tumour(), tumour()), (tumour(), tumour())], 3)
    (curve,) = found.curves
    assert curve.in_sample == pytest.approx(1 / 9)
    assert curve.held_out.mean == 0
    assert not curve.applied
    assert (found.after, found.held_out) == (found.before, None)


def test_held_out_gain_is_that_of_thresholds_chosen_without_the_case(labels):
    # 18 true enhancing voxels must stay; without the case that says so, the plateau runs to 50 and takes 20
    pairs = [(WITHOUT, few(3)), (WITHOUT, few(3)), (tumour(), tumour())]
    (curve,) = search(labels, pairs, 3).curves
    assert (curve.best, curve.in_sample) == (10, pytest.approx(2 / 9))
    assert curve.held_out_thresholds == (10, 10, 15)
    assert curve.held_out.mean == pytest.approx(2 / 9)
    (curve,) = search(labels, pairs, 3, (0, 15, 20, 50)).curves
    assert (curve.best, curve.held_out_thresholds) == (15, (15, 15, 20))
    assert curve.held_out.mean == pytest.approx((1 + 1 - 1) / 9)
    assert not curve.applied  # its interval holds a loss


def test_rule_is_searched_on_the_result_of_those_applied_before(labels):
    rules = rules_for(labels, 26)
    pairs = [(tumour(), noise(3)), (tumour(), noise(3)), (tumour(), noise(4))]
    found = search_in_turn(ruled(labels, pairs, rules), rules, [STEPS] * 4)
    assert [curve.applied for curve in found.curves] == [True, False, False, False]
    assert found.curves[1].scores[0] == found.after == 1
    assert found.held_out.mean == pytest.approx(1 - found.before)


def test_refused_rule_changes_nothing_for_those_after_it(labels):
    rules = rules_for(labels, 26)
    pairs = [(tumour(), noise(3)), (tumour(), tumour()), (tumour(), tumour())]
    found = search_in_turn(ruled(labels, pairs, rules), rules, [STEPS] * 4)
    assert [curve.applied for curve in found.curves] == [False] * 4
    assert found.curves[1].scores[0] == found.before < 1


def test_joint_search_avoids_a_harm_that_rules_in_turn_accept(labels):
    # False enhancing tumour: two blobs of three voxels. True one: four blobs of two voxels. Removing blobs below four
    # voxels mends many and harms one; replacing regions below seven mends all, but comes second.
    false, true = WITHOUT.copy(), WITHOUT.copy()
    false[4, 4, 4:7] = false[4, 6, 4:7] = 3
    for z, y in ((4, 4), (4, 6), (6, 4), (6, 6)):
        true[z, y, 4:6] = 3
    rules = [rules_for(labels, 26, erase_largest=True)[2], rules_for(labels, 26)[3]]
    steps = [(0, 4), (0, 7)]
    cases = [RuledCase(*pair, rules, steps, labels, "brats2020") for pair in [(WITHOUT, false)] * 12 + [(true, true)]]
    in_turn = search_in_turn(cases, rules, steps)
    assert [curve.best if curve.applied else None for curve in in_turn.curves] == [4, None]
    joint = search_jointly(cases, rules, steps)
    assert [curve.best if curve.applied else None for curve in joint.curves] == [None, 7]
    assert joint.after - in_turn.after == pytest.approx(1 / 13 / 3)


def test_joint_search_scores_every_combination(labels):
    rules = rules_for(labels, 26)
    pairs = [(tumour(), noise(3)), (tumour(), noise(12)), (WITHOUT, few(4)), (WITHOUT, few(5)), (tumour(), noise(4))]
    steps = (0, 5, 15)
    found = search_jointly(ruled(labels, pairs, rules, steps), rules, [steps] * 4)
    in_turn = search_in_turn(ruled(labels, pairs, rules, steps), rules, [steps] * 4)
    gains = in_turn.curves[0].in_sample + in_turn.curves[3].in_sample
    assert found.after == pytest.approx(found.before + gains)
    assert [curve.best for curve in found.curves] == [15, None, None, 15]


def test_joint_search_is_refused_where_it_is_not_cheap():
    check_is_cheap([(0, *range(9))] * 4, 100)
    with pytest.raises(InputError, match=r"--joint: 1048576 combinations .*at most 14 thresholds"):
        check_is_cheap([tuple(range(16))] * 4, 16)


def test_cliff_is_a_threshold_close_by_that_does_harm(labels):
    # 18 true voxels: below 15 the rule helps, below 20 it takes them
    pairs = [(WITHOUT, few(3)), (WITHOUT, few(5)), (tumour(), tumour()), (tumour(), tumour()), (tumour(), tumour())]
    (curve,) = search(labels, pairs, 3).curves
    cliff = find_cliff(curve)
    assert (curve.best, cliff.threshold, cliff.case) == (10, 20, 2)
    assert cliff.loss == pytest.approx(1 / 15)
    (curve,) = search(labels, pairs, 3, (0, 5, 7, 8, 50)).curves
    assert (curve.best, find_cliff(curve)) == (7, None)
