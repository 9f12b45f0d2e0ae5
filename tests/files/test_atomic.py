"""Files that are complete or not there."""

import pytest

from nnunet_ext.files.atomic import atomic_path, write_text_atomically


def test_file_is_replaced_when_the_block_ends(tmp_path):
    write_text_atomically(tmp_path / "a.txt", "old")
    write_text_atomically(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_failed_block_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    write_text_atomically(tmp_path / "a.txt", "old")

    def fail_halfway():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_temporary_name_keeps_the_ending(tmp_path):
    with atomic_path(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.touch()
