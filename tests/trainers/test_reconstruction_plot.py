"""Picture of image and reconstruction."""

import numpy as np
import torch
from matplotlib.image import imread

from nnunet_ext.trainers.reconstruction_plot import most_labelled_slice, plot_reconstruction


def test_slice_with_most_labels_is_chosen_along_the_axis():
    target = torch.zeros(2, 4, 5, 6)
    target[0, 1, :, 2] = 1
    target[1, 3, 0, 2] = 1
    assert most_labelled_slice(target, 0) == 1
    assert most_labelled_slice(target, 2) == 2


def test_middle_slice_without_labels():
    assert most_labelled_slice(torch.zeros(1, 4, 5, 6), 1) == 2


def test_image_is_above_and_reconstruction_below(tmp_path):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    rows = {"input": np.stack([ramp, ramp]), "reconstruction": np.stack([ramp * 0, ramp * 0 + 1])}
    plot_reconstruction(rows, ["T1", "T2"], str(tmp_path / "a.png"))
    picture = imread(tmp_path / "a.png")[..., 0]
    below = picture[int(0.75 * len(picture))]
    width = len(below)
    assert below[width // 4] == 0  # the first channel's reconstruction is black, the second's white
    assert below[3 * width // 4] == 1
    above = picture[int(0.4 * len(picture))]
    assert above[width // 4] > 0.2


def test_channel_whose_name_is_no_formula_is_drawn(tmp_path):
    plot_reconstruction({"input": np.zeros((1, 8, 8))}, [r"$\frac{$"], str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").is_file()
