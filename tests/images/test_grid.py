"""Comparing grids."""

import re

import numpy as np
import pytest
from label_cases import PLAIN_DATASET, tumour, write_image

from nnunet_ext.images.grid import grid_difference, slant
from nnunet_ext.labels.label_image import read_label_image


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"origin": (0.009, 0, 0)}, None),
        ({"origin": (0.011, 0, 0)}, "other affine"),
        ({"origin": (0, 0, -30)}, "other affine: corners lie up to 30 mm apart"),
        ({"spacing": (1, 1, 1.05)}, "spacing"),
        ({"array": tumour()[1:]}, r"shape \(9, 12, 14\), expected \(10, 12, 14\)"),
    ],
)
def test_grids_are_compared_within_the_tolerance(tmp_path, change, expected):
    write_image(tmp_path / "a.nii.gz", tumour(), spacing=(1, 1, 1))
    write_image(tmp_path / "b.nii.gz", **{"array": tumour(), "spacing": (1, 1, 1), **change})
    first, second = (read_label_image(tmp_path / f"{name}.nii.gz", PLAIN_DATASET) for name in "ba")
    difference = grid_difference(first.grid, second.grid)
    assert difference is None if expected is None else re.match(expected, str(difference))


def test_slant_is_the_largest_angle_that_axes_miss():
    affine = np.diag([2.0, 3, 4, 1])
    assert slant(affine) == 0
    affine[:3, :3] = affine[:3, :3] @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # turned, and still at right angles
    assert slant(affine) == 0
    affine = np.eye(4)
    affine[0, 1], affine[1, 2] = np.tan(np.radians(5)), np.tan(np.radians(0.1))
    assert slant(affine) == pytest.approx(5)
