"""What a row of the table says."""

import math

import numpy as np
import pytest

from nnunet_ext.labels.dataset_labels import Region
from nnunet_ext.uncertainty.case_table import agreement, case_row, volume_interval

FOUR, TWO, NONE = np.arange(8) < 4, np.arange(8) < 2, np.zeros(8, bool)


def test_expected_dice_is_the_mean_over_pairs():
    assert agreement([FOUR, TWO]) == pytest.approx(2 * 2 / 6)
    assert agreement([FOUR, TWO, TWO]) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_empty_masks_agree_with_each_other_and_with_nothing_else():
    assert agreement([NONE, NONE]) == 1
    assert agreement([NONE, FOUR]) == 0
    assert math.isnan(agreement([FOUR]))


def test_interval_of_volumes_is_of_percentiles():
    assert volume_interval(list(range(101))) == (5, 95)
    assert volume_interval([10, 20]) == pytest.approx((10.5, 19.5))
    assert all(math.isnan(limit) for limit in volume_interval([10]))


@pytest.mark.parametrize(("limit", "flagged"), [(0.6, False), (0.7, True)])
def test_row_has_the_volume_of_the_mean_and_is_flagged_below_the_limit(limit, flagged):
    maps = [(mask * 3).reshape(2, 2, 2) for mask in (FOUR, TWO)]
    row = case_row(
        "a", Region("core", (1, 3)), maps, mean_label_map=maps[0], confidence=0.8, voxel_volume=2.0, flag_below=limit
    )
    assert row == {
        "case": "a",
        "region": "core",
        "members": 2,
        "volume": 8,
        "volume_low": pytest.approx(4.2),
        "volume_high": pytest.approx(7.8),
        "volume_unit": "mm3",
        "expected_dice": pytest.approx(2 / 3),
        "mean_confidence": 0.8,
        "flagged": flagged,
    }


def test_single_member_is_not_flagged_for_want_of_another():
    row = case_row(
        "a", Region("x", (1,)), [FOUR], mean_label_map=FOUR, confidence=math.nan, voxel_volume=1.0, flag_below=0.7
    )
    assert row["flagged"] is False
