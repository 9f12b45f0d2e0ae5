"""Detection over all cases."""

import pandas as pd
import pytest

from nnunet_ext.evaluation.detection import detection_plot, sensitivity_by_volume, summarise_detection, volume_words


def lesions(*rows, region="lesion"):
    """Rows of ``lesions.csv`` from kinds and volumes."""
    columns = ["kind", "volume"]
    return pd.DataFrame(rows, columns=columns).assign(case="a", region=region, volume_unit="mm3")


ROWS = lesions(("found", 9.9), ("missed", 10), ("found", 29), ("surplus", 29), ("found", 1e6), ("missed", 2e5))


def test_sensitivity_is_that_of_the_references_lesions_in_each_group():
    rows = sensitivity_by_volume(ROWS)
    assert [(row["from"], row["below"], row["found"], row["lesions"]) for row in rows] == [
        (0, 10, 1, 1),
        (10, 30, 1, 2),  # a lesion of 10 mm³ is in the second group; surplus has no part in it
        (100000, None, 1, 2),
    ]
    assert rows[1]["sensitivity"] == 0.5
    assert [volume_words(row) for row in rows] == ["0 to 10", "10 to 30", "100000 or more"]


def test_interval_is_wilsons():
    # 1 of 2: centre (1 + z²/2) / (2 + z²), half width z * sqrt(0.5 * 0.5 / 2 + z² / 16) * 2 / (2 + z²), z = 1.96
    row = sensitivity_by_volume(ROWS)[1]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.0945, 0.9055), abs=1e-4)


def test_counts_of_all_cases_together():
    found = summarise_detection(ROWS)
    assert (found["lesions_found"], found["lesions_missed"], found["lesions_surplus"]) == (3, 2, 1)
    assert found["lesion_f1"] == pytest.approx(6 / 9)
    assert summarise_detection(ROWS[:0])["lesion_f1"] is None


def test_plot_has_a_panel_a_region_and_a_bar_a_group():
    both = pd.concat([ROWS, lesions(("surplus", 3), region="other")])
    first, second = detection_plot(both).axes
    assert [bar.get_height() for bar in first.patches] == [1, 0.5, 0.5]
    assert "no lesions" in second.texts[0].get_text()
    assert len(detection_plot(ROWS[:0]).axes) == 1
