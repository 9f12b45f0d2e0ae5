"""The figure of heat maps, and the command that draws it."""

import numpy as np
import pytest
from matplotlib.image import imread
from model_folders import model_folder, write_images
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import UserError
from nnunet_ext.testing import Case
from nnunet_ext.trained.attention_figure import draw_attention, slice_with_most_foreground
from nnunet_ext.trained.attention_maps import CaseAttention
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
