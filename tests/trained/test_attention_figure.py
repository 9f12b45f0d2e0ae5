"""The figure of heat maps, and the command that draws it."""

import re

import numpy as np
import pytest
import SimpleITK
from matplotlib.axes import Axes
from matplotlib.image import imread
from model_folders import model_folder, write_images
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import UserError
from nnunet_ext.testing import Case
from nnunet_ext.trained.attention_figure import draw_attention, slice_with_most_foreground
from nnunet_ext.trained.attention_maps import CaseAttention, ReferenceMasks
from nnunet_ext.trainers import AttentionFusionTrainer


def case(n_streams=1):
    generator = np.random.default_rng(0)
    foreground = np.zeros((4, 20, 24), bool)
    foreground[2, 5:10, 5:10] = True
    maps = generator.uniform(0.2, 0.8, (5, n_streams, 4, 20, 24))
    images = generator.normal(size=(n_streams, 4, 20, 24))
    return CaseAttention(images, maps, foreground, ["T1ce", "T2"][:n_streams], (3.0, 1.0, 1.0))


def test_slice_with_the_largest_prediction_is_drawn(tmp_path):
    assert draw_attention(case(), tmp_path / "maps.png") == 2


def test_middle_slice_where_nothing_is_predicted():
    assert slice_with_most_foreground(np.zeros((7, 2, 2), bool)) == 3


@pytest.mark.parametrize("n_streams", [1, 2])
def test_figure_has_a_row_a_stream(n_streams, tmp_path):
    draw_attention(case(n_streams), tmp_path / "maps.png")
    draw_attention(case(1), tmp_path / "one.png")
    height = imread(tmp_path / "maps.png").shape[0]
    assert height == pytest.approx(n_streams * imread(tmp_path / "one.png").shape[0], rel=0.05)


def compared():
    """A prediction of 25 pixels in slice 2, of which 15 are right, 5 are wrong and 5 ignored; 30 are to be found."""
    truth = np.zeros((4, 20, 24), bool)
    truth[2, 7:13, 5:10] = True
    truth[3, 0, 0] = True
    ignored = np.zeros(truth.shape, bool)
    ignored[2, 6, :] = True
    return case()._replace(reference=ReferenceMasks(truth, ignored))


def test_dice_of_slice_and_case_count_what_is_not_ignored():
    both = compared()
    assert both.dice(2) == pytest.approx(2 * 15 / (20 + 30))
    assert both.dice() == pytest.approx(2 * 15 / (20 + 31))
    assert both.dice(3) == 0
    assert np.isnan(both.dice(0))
    with pytest.raises(ValueError, match="needs a reference"):
        case().dice()


@pytest.mark.parametrize(("index", "title"), [(2, "slice 2, Dice 60.0 %"), (0, "slice 0, nothing to find")])
def test_outlines_of_reference_and_prediction_with_the_slices_dice(index, title, tmp_path, monkeypatch):
    outlines, titles = [], []
    monkeypatch.setattr(Axes, "contour", lambda _, mask, colors, **__: outlines.append((colors, mask.sum())))
    monkeypatch.setattr(Axes, "set_title", lambda _, text, **__: titles.append(text))
    draw_attention(compared(), tmp_path / "maps.png", index)
    assert outlines == ([("white", 30), ("magenta", 25)] * 6 if index == 2 else [])
    assert titles[-1] == title


def test_largest_slice_of_the_reference_where_nothing_is_predicted(tmp_path):
    missed = compared()._replace(foreground=np.zeros((4, 20, 24), bool))
    missed.reference.foreground[1] = True
    assert draw_attention(missed, tmp_path / "maps.png") == 1


def test_hottest_spot_has_the_hottest_colour(tmp_path):
    spot = case()
    spot.maps[:] = 0.4
    spot.maps[:, :, 1, :10] = 0.6
    draw_attention(spot, tmp_path / "maps.png", 1)
    pixels = imread(tmp_path / "maps.png")[..., :3]
    height, width = pixels.shape[:2]
    # hot is red, cold is blue; inside the third panel of six
    red_over_blue = (pixels[..., 0] - pixels[..., 2])[:, int(width * 0.38)]
    assert red_over_blue[int(height * 0.3)] > 0.2
    assert red_over_blue[int(height * 0.8)] < -0.1


@pytest.mark.parametrize(
    ("file", "index", "message"),
    [("maps.png", 4, "slices 0 to 3"), ("none/maps.png", 0, "does not exist"), ("maps.nii", 0, "use .png")],
)
def test_wrong_output_raises(file, index, message, tmp_path):
    with pytest.raises(UserError, match=message):
        draw_attention(case(), tmp_path / file, index)


def test_command_writes_the_figure(tmp_path):
    flat = Case("2d", 2, (16, 16), ((1, 1), (2, 2)), ((3, 3),) * 2, channels=("T2", "T1ce"))
    folder = model_folder(AttentionFusionTrainer, flat, tmp_path)
    images = [str(file) for file in write_images(tmp_path, (3, 16, 16))]
    output = tmp_path / "maps.png"
    result = CliRunner().invoke(app, ["attention", str(folder), *images, "-o", str(output), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert f"Wrote {output}" in result.output.replace("\n", "")
    assert imread(output).std() > 0.05


def test_command_scores_against_a_reference(tmp_path):
    flat = Case("2d", 2, (16, 16), ((1, 1), (2, 2)), ((3, 3),) * 2, channels=("T2", "T1ce"))
    folder = model_folder(AttentionFusionTrainer, flat, tmp_path)
    images = [str(file) for file in write_images(tmp_path, (3, 16, 16))]
    labels = SimpleITK.GetImageFromArray(np.ones((3, 16, 16), np.uint8))
    SimpleITK.WriteImage(labels, str(tmp_path / "reference.nii.gz"))
    command = ["attention", str(folder), *images, "-o", str(tmp_path / "maps.png"), "--device", "cpu"]
    result = CliRunner().invoke(app, [*command, "--reference", str(tmp_path / "reference.nii.gz")])
    assert result.exit_code == 0, result.output
    assert re.search(r"Dice, all classes as one: [01]\.\d{3} in the slice, [01]\.\d{3} in the case", result.output)
