"""Looking into a ``postprocessing.pkl`` without running it."""

import os
import pickle
from pathlib import Path

import pytest
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError
from nnunet_ext.postprocessing import pickled, remove_small_components, replace_small_region
from nnunet_ext.postprocessing.pickled import read_postprocessing

EARLIER = Path(__file__).parents[1] / "data" / "postprocessing.pkl"


def write(tmp_path, *content):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content))
    return tmp_path / "p.pkl"


def test_nnunets_and_our_functions_are_known_by_where_they_are(tmp_path):
    functions = [remove_small_components, replace_small_region, remove_all_but_largest_component_from_segmentation]
    assert [(name.module, name.name) for name in pickled.KNOWN] == [(f.__module__, f.__name__) for f in functions]
    arguments = [{"region": (1, 3)}, {"min_voxels": 7}, {"labels_or_regions": [1], "background_label": 0}]
    steps = read_postprocessing(write(tmp_path, functions, arguments))
    assert [step.arguments for step in steps] == arguments
    assert str(steps[0]) == "nnunet_ext.postprocessing.small_components.remove_small_components(region=(1, 3))"


def test_command_shows_earlier_files():
    result = CliRunner().invoke(app, ["postprocess", "show", str(EARLIER)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "1. nnunet_ext.postprocessing.small_components.remove_small_components(region=(1, 2, 3)" in result.output
    assert "2. nnunet_ext.postprocessing.small_regions.replace_small_region(region=(3,)" in result.output


def test_other_functions_are_refused_by_name(tmp_path):
    file = write(tmp_path, [os.system], [{"command": f"touch {tmp_path / 'PWNED'}"}])
    with pytest.raises(InputError, match=r"wants to use posix\.system"):
        read_postprocessing(file)


@pytest.mark.parametrize(
    "content",
    [
        ([], [{}]),
        (["name"], [{}]),
        ([remove_small_components], [1]),
        ([remove_small_components],),
        ({}, {}, {}),
        (1, 2),
    ],
)
def test_other_content_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"not a postprocessing\.pkl"):
        read_postprocessing(write(tmp_path, *content))
