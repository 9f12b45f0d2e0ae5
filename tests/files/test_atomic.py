"""Files and folders that are whole or not there."""

import errno
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import (
    PREFIX,
    atomic_files,
    atomic_folder,
    atomic_path,
    check_writable,
    disk_of,
    write_text_atomically,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced_when_the_block_ends(tmp_path):
    write_text_atomically(tmp_path / "a.txt", "old")
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_failed_block_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    write_text_atomically(tmp_path / "a.txt", "old")

    def fail_halfway():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_temporary_file_has_the_same_name(tmp_path):
    with atomic_path(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name == "a.nii.gz"
        temporary.touch()


def test_commands_that_write_the_same_file_at_once_do_not_meet(tmp_path):
    """Each writes half, waits for the others, and writes the rest: the file is always one of the whole ones."""
    barrier = threading.Barrier(4)
    failed = []

    def write(text):
        try:
            with atomic_path(tmp_path / "a.json") as temporary, temporary.open("w") as stream:
                stream.write(text[:50])
                stream.flush()
                barrier.wait()
                stream.write(text[50:])
            assert (tmp_path / "a.json").read_text() in texts
        except Exception as error:
            failed.append(error)
            barrier.abort()

    texts = [letter * 100 for letter in "abcd"]
    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names(tmp_path) == ["a.json"]


def test_planted_links_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".incomplete_a.txt", "a.txt"):
        (tmp_path / name).symlink_to(victim)
    write_text_atomically(tmp_path / "a.txt", "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()


def write_file_in(folder, path):
    with atomic_files(folder) as new:
        (new / path).parent.mkdir(parents=True)
        (new / path).touch()


def test_folder_of_the_user_may_be_a_link_and_no_folder_in_it(tmp_path):
    for name in ("disk/out", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    write_file_in(tmp_path / "out", "overlays/a.txt")
    assert names(tmp_path / "disk" / "out") == ["overlays"]
    shutil.rmtree(tmp_path / "disk" / "out" / "overlays")
    (tmp_path / "out" / "overlays").symlink_to(tmp_path / "elsewhere")
    for path in ("overlays/a.txt", "overlays/deeper/a.txt"):
        with pytest.raises(InputError, match="overlays is a link"):
            write_file_in(tmp_path / "out", path)
    assert names(tmp_path / "elsewhere") == []
    assert names(tmp_path / "out") == ["overlays"]


def test_only_the_user_can_write_where_the_file_is_made_and_the_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.touch()
        assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_a_killed_command_left_is_removed_and_what_is_being_written_stays(tmp_path):
    (tmp_path / f"{PREFIX}left").mkdir()
    (tmp_path / f"{PREFIX}left" / "half.txt").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    with atomic_path(tmp_path / "b.txt") as slow:
        slow.touch()
        write_text_atomically(tmp_path / "c.txt", "c")
        assert slow.is_file()
    assert names(tmp_path) == [f"{PREFIX}link", "b.txt", "c.txt", "mine"]
    assert names(tmp_path / "mine") == ["a.txt"]


def test_full_disk_is_one_message_with_the_file_and_the_disk(tmp_path):
    def write():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    with pytest.raises(InputError) as caught:
        write()
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'} cannot be written: the disk of {disk_of(tmp_path)} is ")
    assert names(tmp_path) == []


def test_file_in_a_folder_that_is_not_complete_is_named_as_it_will_be(tmp_path):
    def write():
        with atomic_folder(tmp_path / "data") as new, atomic_files(new) as files:
            write_text_atomically(files / "missing" / "a.txt", "a")

    with pytest.raises(InputError, match=f"^{tmp_path}/data/missing/a.txt cannot be written"):
        write()


def test_disk_is_that_of_the_mount_point():
    assert str(disk_of(Path("/proc/self"))) == "/proc"


@pytest.mark.parametrize("write", [atomic_path, atomic_folder, atomic_files])
def test_file_where_a_folder_should_be_is_one_message(write, tmp_path):
    (tmp_path / "file").touch()

    def attempt():
        with write(tmp_path / "file" / "a"):
            pass

    with pytest.raises(InputError, match=r"file/a cannot be written: (Not a directory|File exists): .*file"):
        attempt()


def test_where_files_cannot_be_written_is_known_before(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "new" / "deep"):
        check_writable(folder)
    with pytest.raises(InputError, match=r"file/new cannot be written: Not a directory: .*file"):
        check_writable(tmp_path / "file" / "new")
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot take room on a disk")
def test_room_on_the_disk_is_asked_for_and_given_back(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(os, "posix_fallocate", lambda descriptor, start, size: taken.append((start, size)))
    check_writable(tmp_path / "new", 12345)
    check_writable(tmp_path / "new")
    assert taken == [(0, 12345)]
    assert names(tmp_path) == []

    def fail(number):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", lambda *_: fail(errno.EDQUOT))
    with pytest.raises(InputError, match=r"the disk of .* is full"):
        check_writable(tmp_path / "new", 1)
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: fail(errno.EOPNOTSUPP))
    check_writable(tmp_path / "new", 1)


def test_source_that_cannot_be_read_is_named(tmp_path):
    def copy():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_bytes((tmp_path / "source.txt").read_bytes())

    with pytest.raises(InputError, match=r"a\.txt cannot be written: No such file or directory: .*source\.txt"):
        copy()


def test_folder_appears_only_at_the_end(tmp_path):
    folder = tmp_path / "deep" / "data"
    (tmp_path / "usual").mkdir()
    with atomic_folder(folder) as new:
        (new / "a.txt").write_text("a")
        assert not folder.exists()
    assert names(folder) == ["a.txt"]
    assert names(folder.parent) == ["data"]
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_error_leaves_no_folder_behind(tmp_path):
    def write():
        with atomic_folder(tmp_path / "data") as new:
            (new / "a.txt").write_text("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert names(tmp_path) == []


def test_empty_folder_is_filled(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    with atomic_folder(Path(".")) as new:
        (new / "a.txt").write_text("a")
    assert names(tmp_path / "data") == ["a.txt"]


def test_folder_with_content_and_links_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        with pytest.raises(InputError, match="Delete it or choose another"), atomic_folder(tmp_path / name):
            pass
    assert names(tmp_path) == ["link", "mine"]
    assert names(tmp_path / "mine") == ["mine.txt"]


def test_files_appear_together_beside_those_that_are_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with atomic_files(tmp_path) as new:
        (new / "a.txt").write_text("new")
        (new / "deep").mkdir()
        (new / "deep" / "b.txt").write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt", "deep", "mine.txt"]
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "deep" / "b.txt").read_text() == "new"


def test_of_several_files_none_is_written_where_one_cannot_be(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").mkdir()

    def write():
        with atomic_files(tmp_path) as new:
            (new / "a.txt").write_text("new")
            (new / "b.txt").write_text("new")

    with pytest.raises(InputError, match=r"cannot be written: Is a directory: .*b\.txt"):
        write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt", "b.txt"]
