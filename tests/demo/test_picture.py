"""The picture shows the slice and colours it should."""

import numpy as np
from matplotlib.image import imread

from nnunet_ext.demo.picture import draw, label_legend, widest_slice


def test_widest_slice_has_most_foreground():
    labels = np.zeros((5, 4, 4), dtype=int)
    labels[1, 0, 0] = labels[3, :2, :2] = 2
    assert widest_slice(labels) == 3


def test_widest_slice_of_an_empty_reference_is_the_middle():
    assert widest_slice(np.zeros((5, 4, 4), dtype=int)) == 2


def test_legend_names_all_regions_of_a_label():
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    assert label_legend(labels) == {1: "whole", 2: "whole, core"}


def test_prediction_changes_its_own_column_only(tmp_path):
    rng = np.random.default_rng(0)
    images = {case: rng.normal(size=(2, 3, 8, 8)) for case in ("a", "b")}
    reference = {case: np.ones((3, 8, 8), dtype=int) for case in images}
    pictures = []
    for value in (1, 2):
        predicted = {case: np.full((3, 8, 8), value) for case in images}
        columns = {"Reference": reference, "Predicted": predicted}
        draw(tmp_path / "x.png", images, columns, ["T1", "T2"], {1: "one", 2: "two"})
        pictures.append(imread(tmp_path / "x.png"))
    changed = np.flatnonzero((pictures[0] != pictures[1]).any(axis=(0, 2)))
    width = pictures[0].shape[1]
    assert changed.min() > 0.7 * width  # the last of four columns
