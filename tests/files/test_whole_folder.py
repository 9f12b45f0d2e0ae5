"""Half-written folders never stand under the final name."""

import pytest

from nnunet_ext.files.whole_folder import written_whole


def test_folder_appears_only_at_the_end(tmp_path):
    folder = tmp_path / "deep" / "data"
    with written_whole(folder) as partial:
        (partial / "a.txt").write_text("a")
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert list(folder.parent.iterdir()) == [folder]


def test_error_leaves_nothing_behind(tmp_path):
    def write():
        with written_whole(tmp_path / "data") as partial:
            (partial / "a.txt").write_text("a")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_killed_run_do_not_reach_the_next(tmp_path):
    writer = written_whole(tmp_path / "data")
    (writer.__enter__() / "old.txt").write_text("half")
    with written_whole(tmp_path / "data") as partial:
        (partial / "new.txt").write_text("new")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["new.txt"]


def test_empty_folder_is_filled(tmp_path):
    with written_whole(tmp_path) as partial:
        (partial / "a.txt").write_text("a")
    assert (tmp_path / "a.txt").read_text() == "a"


def test_folder_with_content_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Delete it or choose another"), written_whole(tmp_path):
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"
