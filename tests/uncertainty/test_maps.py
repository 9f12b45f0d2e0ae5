"""Maps of two members in closed form."""

import numpy as np
import pytest

from nnunet_ext.uncertainty.maps import JointEntropies, as_percent, maps_of

OF_ONE_FIFTH = -(0.2 * np.log2(0.2) + 0.8 * np.log2(0.8))  # entropy of 0.2, and of 0.8, in bits


def test_members_that_contradict_each_other_disagree_about_all_there_is():
    maps = maps_of([np.array([0.0]), np.array([1.0])])
    assert [float(part[0]) for part in maps] == [0.5, 1.0, 1.0, 0.25]


def test_members_that_both_doubt_share_their_doubt_and_disagree_about_nothing():
    maps = maps_of([np.array([0.5, 0.2]), np.array([0.5, 0.2])])
    np.testing.assert_allclose(maps.entropy, [1, OF_ONE_FIFTH], rtol=1e-6)
    np.testing.assert_allclose(maps.mutual_information, [0, 0], atol=1e-7)
    np.testing.assert_allclose(maps.variance, [0, 0], atol=1e-7)


def test_disagreement_is_the_entropy_that_the_members_do_not_have_themselves():
    maps = maps_of([np.array([0.2]), np.array([0.8])])
    assert maps.mean[0] == pytest.approx(0.5)
    assert maps.entropy[0] == pytest.approx(1)
    assert maps.mutual_information[0] == pytest.approx(1 - OF_ONE_FIFTH)
    assert maps.variance[0] == pytest.approx(0.09)


def test_three_members_are_weighed_alike():
    maps = maps_of([np.array([0.0]), np.array([0.0]), np.array([1.0])])
    assert maps.mean[0] == pytest.approx(1 / 3)
    assert maps.mutual_information[0] == pytest.approx(-(np.log2(1 / 3) + 2 * np.log2(2 / 3)) / 3)
    assert maps.variance[0] == pytest.approx(2 / 9)


def test_largest_value_that_a_map_can_have_is_a_hundred_percent():
    maps = maps_of([np.array([0.0, 0.2]), np.array([1.0, 0.8])])
    assert as_percent("variance", maps.variance).tolist() == [100, 36]
    assert as_percent("mutual_information", maps.mutual_information).tolist() == [100, 28]
    assert as_percent("mean", maps.mean).dtype == np.uint8


def test_entropy_of_all_classes_is_1_where_nothing_is_known():
    joint = JointEntropies((2, 1, 1), 3)
    classes = np.array([[1 / 3, 1], [1 / 3, 0], [1 / 3, 0]], np.float32)
    for values in classes:
        joint.add(slice(0, 2), [values.reshape(2, 1, 1)])
    np.testing.assert_allclose(joint.maps().entropy.ravel(), [1, 0], atol=1e-6)
    np.testing.assert_allclose(joint.maps().mutual_information.ravel(), [0, 0], atol=1e-6)


def test_classes_that_members_choose_differently_are_disagreement():
    joint = JointEntropies((1, 1, 1), 4)
    for first, second in ((1, 0), (0, 1), (0, 0), (0, 0)):
        joint.add(slice(0, 1), [np.full((1, 1, 1), value, np.float32) for value in (first, second)])
    maps = joint.maps()
    assert maps.entropy.item() == pytest.approx(np.log(2) / np.log(4))
    assert maps.mutual_information.item() == pytest.approx(np.log(2) / np.log(4))
