"""Overlays: which channel and which part of it are shown."""

import numpy as np
import pytest
from label_cases import BRATS_DATASET, PLAIN_DATASET, tumour, write_dataset_json, write_folder, write_image
from matplotlib.colors import to_hex

from nnunet_ext.evaluation.overlays import channel_of, head_box, overlays, region_colours
from nnunet_ext.evaluation.uncertainty_folder import UncertaintyFolder
from nnunet_ext.images.map_image import write_map
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.labels.label_image import read_label_image

FOUR = ("T1", "T1Gd", "T2", "T2-FLAIR")


@pytest.fixture
def brats(tmp_path):
    return read_dataset_labels(write_dataset_json(tmp_path, BRATS_DATASET))


@pytest.fixture
def plain(tmp_path):
    return read_dataset_labels(write_dataset_json(tmp_path, PLAIN_DATASET))


def test_regions_of_brats_are_shown_where_they_show(brats):
    images = np.zeros((4, 10, 12, 14))
    chosen = [FOUR[channel_of(region, brats, FOUR, images, region.mask(tumour()))] for region in brats.regions]
    assert chosen == ["T2-FLAIR", "T1Gd", "T1Gd"]
    without = ("T1", "T2")
    assert channel_of(brats.regions[0], brats, without, images[:2], brats.regions[0].mask(tumour())) == 1


def test_other_regions_are_shown_where_they_have_most_contrast(plain):
    mask = tumour() == 3
    noise = np.random.default_rng(0).normal(10, 1, (3, *mask.shape))
    images = noise + np.stack([mask * 1.0, mask * -5.0, mask * 2.0])
    assert channel_of(plain.regions[0], plain, ("a", "b", "c"), images, mask) == 1
    assert channel_of(plain.regions[0], plain, ("a", "b", "c"), images, np.zeros_like(mask)) == 0


def test_slices_are_cut_to_the_head_and_never_through_a_label():
    channels = np.zeros((2, 40, 50))
    channels[0, 10:20, 15:30] = 100
    channels[1] = 1e-3 * np.random.default_rng(0).random((40, 50))
    channels[1, 12:22, 15:30] = 1
    label = np.zeros((40, 50), dtype=bool)
    assert head_box(channels, label) == (slice(6, 26), slice(11, 34))
    label[39, 0] = True
    assert head_box(channels, label) == (slice(6, 44), slice(0, 34))


def test_contours_lie_around_the_regions_and_fill_nothing(brats, tmp_path):
    images = write_folder(tmp_path / "images", {})
    for channel in range(2):
        write_image(images / f"a_{channel:04d}.nii.gz", (tumour() > 0) * np.float32(9) + 1)
    files = {"a": write_folder(tmp_path / "ref", {"a": tumour()}) / "a.nii.gz"}
    predicted = {"a": write_folder(tmp_path / "pred", {"a": tumour(1)}) / "a.nii.gz"}
    figure = overlays({"best": "a"}, images, files, predicted, brats)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "FLAIR", "FLAIR: reference", "FLAIR: prediction", "T1ce", "T1ce: reference", "T1ce: prediction"
    ]  # fmt: skip
    plain_image, reference, prediction = figure.axes[:3]
    assert len(plain_image.collections) == 0
    (outline,) = reference.collections
    assert to_hex(outline.get_edgecolor()) == to_hex(region_colours(brats)["whole tumor"])
    assert outline.get_facecolor().size == 0 or not outline.get_fill()
    box = outline.get_paths()[0].get_extents()
    assert (box.width, box.height) == (7, 7)  # tumour() is seven voxels wide and high
    assert [to_hex(line.get_edgecolor()) for line in prediction.collections] == [to_hex("limegreen"), to_hex("cyan")]
    own, dotted = (line.get_paths()[0].get_extents() for line in prediction.collections)
    assert own.x0 - dotted.x0 == 1


def test_entropy_stands_beside_the_prediction_in_the_same_slice(brats, tmp_path):
    images = write_folder(tmp_path / "images", {})
    for channel in range(2):
        write_image(images / f"a_{channel:04d}.nii.gz", (tumour() > 0) * np.float32(9) + 1)
    files = {"a": write_folder(tmp_path / "ref", {"a": tumour()}) / "a.nii.gz"}
    predicted = {"a": write_folder(tmp_path / "pred", {"a": tumour(1)}) / "a.nii.gz"}
    maps = UncertaintyFolder(tmp_path / "unc", tuple(region.name for region in brats.regions), 100)
    grid = read_label_image(files["a"], brats.content).grid
    for index, region in enumerate(brats.regions):
        file = maps.map_file("entropy", region.name, "a")
        file.parent.mkdir(parents=True)
        write_map(file, np.full(grid.shape, 20 * (index + 1), np.uint8), grid)
    figure = overlays({"": "a"}, images, files, predicted, brats, maps=maps)
    assert [axes.get_title() for axes in figure.axes][3] == "entropy, 0 to 1 bit"
    assert len(figure.axes) == 8
    # FLAIR has the whole tumour alone; T1ce core and enhancing tumour, of which the less certain one shows
    for axes, value in ((figure.axes[3], 0.2), (figure.axes[7], 0.6)):
        plain_image, entropy = axes.images
        np.testing.assert_allclose(entropy.get_array(), value)
        assert entropy.get_array().shape == plain_image.get_array().shape
        assert entropy.get_clim() == (0, 1)
