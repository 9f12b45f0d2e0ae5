"""Surface Dice by area against surface-distance, by voxels against panoptica's formula, and by hand."""

import numpy as np
import pytest
from mask_pairs import CUBE, PAIRS, box, surface_distance

from nnunet_ext.evaluation.surface_dice import surface_dice, surface_dice_by_area
from nnunet_ext.evaluation.surfaces import border_surface, border_surfaces, corner_surfaces, surface_distances


@pytest.mark.parametrize("name", PAIRS)
def test_by_area_agrees_with_surface_distance(name):
    reference, prediction, spacing = PAIRS[name]
    package, distances = surface_distance(reference, prediction, spacing)
    for tolerance in (0.0, 1.0, 2.5):
        expected = package.compute_surface_dice_at_tolerance(distances, tolerance)
        assert surface_dice(reference, prediction, spacing, tolerance)[0] == pytest.approx(expected, abs=1e-9)


def test_by_voxels_is_the_mean_of_both_fractions():
    # A line of 5 border voxels and one of 2 on its end: of the 5, the 2 and (at 1 mm) their neighbour are within.
    reference, prediction = box((3, 3, 9), (1, 2), (1, 2), (1, 6)), box((3, 3, 9), (1, 2), (1, 2), (1, 3))
    assert surface_dice(reference, prediction, (1, 1, 1), 0)[1] == pytest.approx((2 / 5 + 2 / 2) / 2)
    assert surface_dice(reference, prediction, (1, 1, 1), 1)[1] == pytest.approx((3 / 5 + 2 / 2) / 2)


def test_tolerance_is_in_mm_of_each_axis():
    reference, prediction = box((6, 9, 9), (1, 2), (2, 6), (2, 6)), box((6, 9, 9), (2, 3), (2, 6), (2, 6))
    assert surface_dice(reference, prediction, (5, 1, 1), 4.9)[1] == 0  # moved by one slice of 5 mm, one voxel thick
    assert surface_dice(reference, prediction, (5, 1, 1), 5)[1] == 1
    assert surface_dice(reference, prediction, (1, 1, 1), 1)[1] == 1


def test_a_distance_that_equals_the_tolerance_is_within():
    # 3 * 0.1 - 2 * 0.1 is more than 0.1 in floating point, one voxel of 0.1 mm is not.
    reference, prediction = box((9, 9), (2, 3), (1, 8)), box((9, 9), (3, 4), (1, 8))
    assert surface_dice(reference, prediction, (0.1, 0.1), 0.1)[1] == 1


def test_large_surface_weighs_more_by_area_alone():
    # A plate of 20x20 voxels and one voxel of it: by voxels, the one counts half.
    plate, voxel = box((5, 22, 22), (2, 3), (1, 21), (1, 21)), box((5, 22, 22), (2, 3), (10, 11), (10, 11))
    by_area, by_voxels = surface_dice(plate, voxel, (1, 1, 1), 0)
    assert by_voxels == pytest.approx((1 / 400 + 1) / 2)
    assert by_area < 0.05


def test_empty_mask_raises():
    with pytest.raises(ValueError, match="empty"):
        surface_dice(CUBE, np.zeros_like(CUBE), (1, 1, 1), 1)


@pytest.mark.parametrize("surfaces", [corner_surfaces, border_surfaces])
def test_surfaces_of_components_are_those_of_each_alone(surfaces):
    first, second = box((9, 9, 9), (0, 2), (0, 3), (0, 3)), box((9, 9, 9), (4, 8), (4, 8), (3, 8))
    together = surfaces(first + 2 * second.astype(int), 2, (1, 2, 3))
    for mask, surface in zip((first, second), together, strict=True):
        alone = surfaces(mask.astype(int), 1, (1, 2, 3))[0]
        assert np.array_equal(surface.points, alone.points)
        assert np.array_equal(surface.areas, alone.areas)
    assert len(together[0].points) != len(together[1].points)


def test_distances_to_an_empty_surface_are_infinite():
    empty = border_surface(np.zeros_like(CUBE), (1, 1, 1))
    distances = surface_distances(border_surface(CUBE, (1, 1, 1)), empty)
    assert np.isinf(distances.distances[0]).all()
    assert surface_dice_by_area(distances, 1) == 0
