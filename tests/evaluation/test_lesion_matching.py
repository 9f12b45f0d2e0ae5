"""Components, dilation and one-to-one matching."""

import numpy as np
import pytest
from mask_pairs import box
from scipy import ndimage

from nnunet_ext.evaluation.lesion_matching import (
    Overlaps,
    components,
    dice_of_overlaps,
    dilate,
    match_one_to_one,
    merge_by_dilation,
    overlaps,
    touching_components,
)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_dilation_is_that_of_scipy_with_18_neighbours(times):
    mask = np.random.default_rng(0).random((9, 14, 11)) < 0.02
    expected = (
        ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=times) if times else mask
    )
    assert np.array_equal(dilate(mask, times), expected)


def test_dilation_in_2d_is_that_of_a_single_slice():
    mask = np.random.default_rng(0).random((14, 11)) < 0.05
    assert np.array_equal(dilate(mask, 2), dilate(mask[None], 2)[0])


def test_dilation_does_not_change_its_input():
    mask = box((5, 5, 5), (2, 3), (2, 3), (2, 3))
    dilate(mask, 1)
    assert mask.sum() == 1


def test_voxels_that_share_a_corner_are_one_component():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert touching_components(mask).sizes.tolist() == [2, 1]
    assert components(mask, 6).number == 3
    assert touching_components(np.eye(3, dtype=bool)).number == 1
    assert components(np.eye(3, dtype=bool), 4).number == 3
    assert touching_components(np.zeros((3, 3, 3), dtype=bool)).number == 0


@pytest.mark.parametrize(("dimension", "neighbours"), [(2, 4), (2, 8), (3, 6), (3, 26)])
def test_components_of_small_boxes_are_those_of_scipy(dimension, neighbours):
    generator = np.random.default_rng(0)
    element = ndimage.generate_binary_structure(dimension, dimension if neighbours in (8, 26) else 1)
    for _ in range(1500):
        mask = generator.random(generator.integers(1, 7, size=dimension)) < generator.choice([0.2, 0.5, 0.8])
        assert components(mask, neighbours).number == ndimage.label(mask, element)[1]


def test_lesions_that_touch_after_dilation_are_one():
    # Between the voxels lie 2 others. After one dilation each reaches the next, and the two are neighbours.
    mask = box((3, 3, 12), (1, 2), (1, 2), (1, 2)) | box((3, 3, 12), (1, 2), (1, 2), (4, 5))
    assert merge_by_dilation(mask, 0)[0].number == 2
    lesions, dilated = merge_by_dilation(mask, 1)
    assert lesions.sizes.tolist() == [2]  # of the mask's own voxels, not of the dilated ones
    assert (dilated != 0).sum() > 2
    apart = box((3, 3, 12), (1, 2), (1, 2), (1, 2)) | box((3, 3, 12), (1, 2), (1, 2), (5, 6))
    assert merge_by_dilation(apart, 1)[0].number == 2  # 3 voxels between them leave one


def test_overlaps_count_shared_voxels():
    # in a row: the first lesion of 2 voxels lies in the first component, the second of 3 in both, one component in none
    reference = np.array([[0, 1, 1, 2, 2, 2, 0, 0, 0]])
    prediction = components(np.array([[1, 1, 1, 1, 0, 1, 0, 1, 1]], dtype=bool), 4)
    shared = overlaps(reference, prediction)
    assert np.stack(shared).tolist() == [[0, 1, 1], [0, 0, 1], [2, 1, 1]]


def test_dice_of_overlaps():
    first, second = components(box((1, 9), (0, 1), (0, 4)), 4), components(box((1, 9), (0, 1), (1, 3)), 4)
    assert dice_of_overlaps(first, second, overlaps(first.labels, second)).tolist() == [2 * 2 / (4 + 2)]


def test_matching_maximises_the_sum_of_dice():
    # Taking the best pair first (0.6) leaves 0.1: 0.7. The other way round: 0.5 + 0.55.
    shared = Overlaps(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.ones(4))
    assert match_one_to_one((2, 2), shared, np.array([0.6, 0.5, 0.55, 0.1]), 1e-6).tolist() == [1, 2]


def test_a_lesion_has_one_partner():
    shared = Overlaps(np.array([0, 0, 0]), np.array([0, 1, 2]), np.ones(3))
    assert match_one_to_one((1, 3), shared, np.array([0.2, 0.4, 0.3]), 1e-6).tolist() == [1]


def test_pairs_below_the_smallest_dice_are_none():
    shared = Overlaps(np.array([0, 1]), np.array([0, 1]), np.ones(2))
    assert match_one_to_one((2, 2), shared, np.array([0.1, 0.3]), 0.1).tolist() == [0, 1]
    assert match_one_to_one((2, 2), shared, np.array([0.0999, 0.3]), 0.1).tolist() == [1]
    assert match_one_to_one((2, 2), shared, np.array([0.1, 0.3]), 0.5).tolist() == []


def test_more_pairs_break_a_tie():
    # 0.5 alone or 0.25 + 0.25
    shared = Overlaps(np.array([0, 0, 1]), np.array([0, 1, 0]), np.ones(3))
    assert match_one_to_one((2, 2), shared, np.array([0.5, 0.25, 0.25]), 1e-6).tolist() == [1, 2]


def test_lesions_without_a_pair_are_left_without():
    shared = Overlaps(np.array([1]), np.array([3]), np.ones(1))
    assert match_one_to_one((3, 5), shared, np.array([0.4]), 1e-6).tolist() == [0]
    none = Overlaps(*(np.zeros(0, dtype=int) for _ in range(3)))
    for numbers in ((0, 0), (3, 0), (0, 2), (2, 2)):
        assert match_one_to_one(numbers, none, np.zeros(0), 1e-6).tolist() == []


def test_of_equal_matchings_it_is_panopticas():
    # The second of two lesions shares voxels with both predicted ones, equally. With the first lesion in the matrix, as
    # in panoptica 2.1, it is matched with the second; without, it would be the first.
    shared = Overlaps(np.array([1, 1]), np.array([0, 1]), np.ones(2))
    assert match_one_to_one((2, 2), shared, np.array([0.5, 0.5]), 1e-6).tolist() == [1]
