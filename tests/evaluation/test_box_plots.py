"""Box plots."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ext.evaluation.box_plots import box_plots, whisker_limits


def rows(values, region="tumour"):
    """Rows of one region and metric."""
    return pd.DataFrame({"case": range(len(values)), "region": region, "hd95": values, **HOW})


HOW = {"hd95_definition": "pooled", "convention": "nan"}
SPREAD = np.arange(1.0, 12.0)


def test_one_outlier_does_not_flatten_a_panel():
    figure = box_plots({"a": pd.concat([rows([*SPREAD, 373.0]), rows(SPREAD, "core")])})
    (axes,) = figure.axes
    assert 11 < axes.get_ylim()[1] < 13
    assert [(text.get_text(), round(text.get_position()[0])) for text in axes.texts] == [("\u21911: 373", 0)]


def test_panel_of_close_values_shows_them_all():
    (axes,) = box_plots({"a": rows([*SPREAD, 20.0])}).axes
    assert axes.get_ylim()[1] > 20
    assert not axes.texts


def test_limits_hold_boxes_and_whiskers_of_every_result():
    together = pd.concat([rows([*SPREAD, -500.0]).assign(result="a"), rows(SPREAD + 20).assign(result="b")])
    assert whisker_limits(together, "hd95") == (1, 31)
    # a quarter of the cases is far away: the box itself reaches there
    far = rows([1.0, 2, 3, 4, 5, 6, 900, 1000]).assign(result="a")
    assert whisker_limits(far, "hd95") == pytest.approx((1, far["hd95"].quantile(0.75)))
    assert whisker_limits(rows([1.0, 1.0, 1.0, 1.0, 9.0]).assign(result="a"), "hd95") is None


def test_there_is_no_panel_without_a_metric():
    metrics = rows(SPREAD).assign(**{name: SPREAD for name in ("dice", "sensitivity", "specificity")})
    assert len(box_plots({"a": metrics}).axes) == 4


def test_long_titles_stay_inside_the_figure():
    lesions = {"lesions": "brats2025", "volume_unit": "mm3", "match_dice": 1e-6, "min_lesion_mm3": 0.0}
    frame = rows(SPREAD).assign(matched_lesion_nsd=SPREAD, **lesions)
    figure = box_plots({"a": frame}, ["matched_lesion_nsd"])
    figure.canvas.draw()
    (axes,) = figure.axes
    title = axes.title.get_window_extent()
    assert axes.get_title().replace("\n", " ") == "Surface Dice by border voxels of matched lesions, brats2025"
    assert figure.bbox.x0 <= title.x0
    assert title.x1 <= figure.bbox.x1
    assert title.y1 <= figure.bbox.y1
