"""Removal of small components and replacement of small regions."""

import numpy as np
import pytest

from nnunet_ext.postprocessing import remove_small_components, replace_small_region


def scattered():
    """Components of label 1 with 9 voxels, 10 voxels and 1 voxel, one of label 2 with 4 voxels."""
    labels = np.zeros((4, 12, 12), dtype=np.float32)  # nnU-Net's readers give float32
    labels[0, 0, 0:9] = 1
    labels[2, 0, 0:10] = 1
    labels[2, 11, 11] = 1
    labels[0, 5:7, 5:7] = 2
    return labels


def test_components_below_ten_voxels_are_removed_by_default():
    result = remove_small_components(scattered(), 1)
    assert result.dtype == np.float32
    assert (result == 1).sum() == 10
    assert result[2, 0, :10].all()
    assert (result == 2).sum() == 4


def test_image_one_voxel_thin():
    labels = np.array([[[1, 0, 1, 0, 1, 1]]], dtype=np.uint8)
    assert remove_small_components(labels, 1, min_voxels=2).tolist() == [[[0, 0, 0, 0, 1, 1]]]


def test_largest_component_can_be_kept():
    kept = remove_small_components(scattered(), 1, min_voxels=100, keep_largest=True)
    assert (kept == 1).sum() == 10
    equal = scattered()
    equal[0, 0, 9] = 1
    assert (remove_small_components(equal, 1, min_voxels=100, keep_largest=True) == 1).sum() == 20
    assert not (remove_small_components(scattered(), 1, min_voxels=100) == 1).any()  # as files of earlier versions do


def test_input_is_not_changed():
    labels = scattered()
    remove_small_components(labels, 1)
    replace_small_region(labels, 2, 100, 1)
    np.testing.assert_array_equal(labels, scattered())


@pytest.mark.parametrize(("connectivity", "remaining"), [(26, 4), (18, 3), (6, 2)])
def test_connectivity_counts_faces_edges_or_corners(connectivity, remaining):
    labels = np.zeros((3, 4, 4), dtype=np.uint8)
    labels[0, 0, 0] = labels[0, 0, 1] = 1  # a face
    labels[0, 1, 2] = 1  # an edge to the second voxel
    labels[1, 2, 3] = 1  # a corner to the third voxel
    assert remove_small_components(labels, 1, 2, connectivity=connectivity).sum() == remaining


def test_region_is_taken_apart_as_the_union_of_its_labels():
    labels = np.zeros((1, 5, 5), dtype=np.uint8)
    labels[0, 0] = [1, 3, 1, 3, 1]
    assert not remove_small_components(labels, 1, 2).all()
    np.testing.assert_array_equal(remove_small_components(labels, (1, 3), 5), labels)
    np.testing.assert_array_equal(remove_small_components(labels, (1, 3), 6, replacement=2)[0, 0], [2] * 5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 6, 7), (3, 4, 5)])
def test_empty_segmentation_stays_empty(shape):
    labels = np.zeros(shape, dtype=np.uint8)
    assert not remove_small_components(labels, (1, 2)).any()
    assert not replace_small_region(labels, 1, 10, 2).any()


@pytest.mark.parametrize(("min_voxels", "expected"), [(4, 2), (5, 1)])
def test_region_below_the_threshold_gets_the_other_label(min_voxels, expected):
    result = replace_small_region(scattered(), 2, min_voxels, replacement=1)
    assert (result[0, 5:7, 5:7] == expected).all()
    assert (result == 1).sum() == 20 + (4 if expected == 1 else 0)


def test_size_of_a_region_is_that_of_all_its_components():
    result = replace_small_region(scattered(), 1, 20, replacement=0)
    assert (result == 1).sum() == 20
    assert (replace_small_region(scattered(), 1, 21, replacement=0) == 1).sum() == 0
