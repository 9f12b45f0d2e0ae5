"""HD95 against MedPy and surface-distance."""

import time

import numpy as np
import pytest
from mask_pairs import CUBE, PAIRS, box, surface_distance
from medpy.metric.binary import hd95 as medpy_hd95

from nnunet_ext.evaluation.hausdorff import directed_hd95, hd95, pooled_hd95


@pytest.mark.parametrize("name", PAIRS)
def test_pooled_agrees_with_medpy(name):
    reference, prediction, spacing = PAIRS[name]
    expected = medpy_hd95(prediction, reference, spacing)
    assert hd95(reference, prediction, spacing, "pooled") == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_directed_agrees_with_surface_distance(name):
    reference, prediction, spacing = PAIRS[name]
    package, distances = surface_distance(reference, prediction, spacing)
    expected = package.compute_robust_hausdorff(distances, 95)
    assert hd95(reference, prediction, spacing, "directed") == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("definition", ["pooled", "directed"])
def test_single_voxels_have_the_distance_of_their_centres(definition):
    reference, prediction = box((9, 9), (1, 2), (1, 2)), box((9, 9), (4, 5), (5, 6))
    assert hd95(reference, prediction, (2.0, 2.0), definition) == pytest.approx(10.0)  # 2 mm * sqrt(3² + 4²)


def test_few_far_false_positives_move_the_directed_value_far_more():
    reference = box((40, 40, 40), (5, 25), (5, 25), (5, 25))
    prediction = reference.copy()
    prediction[38, 20:38:2, 20:38:2] = True
    assert pooled_hd95(reference, prediction, (1, 1, 1)) == 0
    assert directed_hd95(reference, prediction, (1, 1, 1)) > 10


@pytest.mark.parametrize("definition", ["pooled", "directed"])
def test_does_not_depend_on_the_order_of_the_masks(definition):
    reference, prediction, spacing = PAIRS["random 3"]
    forwards, backwards = (
        hd95(reference, prediction, spacing, definition),
        hd95(prediction, reference, spacing, definition),
    )
    assert forwards == pytest.approx(backwards)


def test_empty_mask_raises():
    with pytest.raises(ValueError, match="empty"):
        hd95(CUBE, np.zeros_like(CUBE), (1, 1, 1))


def test_unknown_definition_raises():
    with pytest.raises(ValueError, match=r"pooled, directed"):
        hd95(CUBE, CUBE, (1, 1, 1), "both")  # type: ignore[arg-type]


@pytest.mark.parametrize("definition", ["pooled", "directed"])
def test_full_size_case_with_scattered_false_positives_is_fast(definition):
    grid = np.indices((155, 240, 240))
    distance = sum((axis - centre) ** 2 for axis, centre in zip(grid, (75, 120, 110), strict=True))
    reference = distance < 40**2
    prediction = (distance < 38**2) | (np.random.default_rng(0).random(reference.shape) < 1e-4)
    start = time.process_time()
    hd95(reference, prediction, (1, 1, 1), definition)
    assert time.process_time() - start < 3  # three regions of a case in well under 10 s
