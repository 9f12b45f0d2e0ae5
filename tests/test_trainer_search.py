"""The search path keeps what is there and works; what is in the way is found."""

import os

import pytest

from nnunet_ext.trainer_search import extended_search_path, find_obstacles, mended_search_path, plugin_folder
from nnunet_ext.trainers import TRAINERS

PLUGIN = str(plugin_folder())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", [PLUGIN]),
        (PLUGIN, [PLUGIN]),
        (os.pathsep.join(["/a", PLUGIN, "/b"]), ["/a", "/b", PLUGIN]),
        (PLUGIN + "/", [PLUGIN]),
    ],
)
def test_search_path_keeps_other_folders_and_holds_ours_once(value, expected):
    assert extended_search_path({"nnUNet_extTrainer": value}) == os.pathsep.join(expected)


def test_mended_path_has_folders_alone(tmp_path):
    environment = {"nnUNet_extTrainer": os.pathsep.join([str(tmp_path), "/no/such/folder", "", PLUGIN, __file__])}
    assert mended_search_path(environment) == os.pathsep.join([str(tmp_path), PLUGIN])
    assert mended_search_path(environment, own_first=True) == os.pathsep.join([PLUGIN, str(tmp_path)])


def test_without_the_plugin_no_trainer_is_found(monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    (obstacle,) = find_obstacles([])
    assert obstacle.trainers == tuple(trainer.__name__ for trainer in TRAINERS)
    assert obstacle.module is None
