"""What is left to do for a fold, and that two processes never do it at once."""

import os
import subprocess
import sys
import zipfile

import pytest
from other_process import holding

from nnunet_ext.files.fold_lock import LOCK, TrainingError
from nnunet_ext.files.locks import try_lock
from nnunet_ext.workflow.fold_training import options_for, prepare_fold, set_broken_checkpoints_aside


def write_checkpoint(file, cut_off=False):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", bytes(1000))
    if cut_off:
        file.write_bytes(file.read_bytes()[:500])


@pytest.mark.parametrize(
    ("checkpoints", "options"),
    [
        ((), []),
        (("best",), ["--c"]),
        (("latest",), ["--c"]),
        (("latest", "best"), ["--c"]),
        (("final", "best"), ["--val"]),
        (("final", "latest", "best"), ["--val"]),  # stopped just before the latest is deleted
    ],
)
def test_options_go_on_where_the_training_stopped(tmp_path, checkpoints, options):
    for name in checkpoints:
        write_checkpoint(tmp_path / f"checkpoint_{name}.pth")
    assert options_for(tmp_path) == options


def test_cut_off_checkpoints_are_kept_under_another_name(tmp_path):
    write_checkpoint(tmp_path / "checkpoint_final.pth", cut_off=True)
    write_checkpoint(tmp_path / "checkpoint_latest.pth")
    (note,) = set_broken_checkpoints_aside(tmp_path)
    assert "checkpoint_final.pth was cut off" in note
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoint_final.pth.broken", "checkpoint_latest.pth"}


def test_cut_off_final_checkpoint_continues_the_training(tmp_path):
    write_checkpoint(tmp_path / "checkpoint_final.pth", cut_off=True)
    write_checkpoint(tmp_path / "checkpoint_latest.pth")
    options, notes = prepare_fold(tmp_path)
    assert options == ["--c"]
    assert len(notes) == 1


def test_new_fold_gets_its_folder(tmp_path):
    assert prepare_fold(tmp_path / "model" / "fold_0") == ([], [])
    assert (tmp_path / "model" / "fold_0" / LOCK).is_file()


def test_damaged_checkpoint_is_set_aside_too(tmp_path):
    file = tmp_path / "checkpoint_latest.pth"
    write_checkpoint(file)
    file.write_bytes(file.read_bytes().replace(bytes(100), b"x" + bytes(99), 1))
    (note,) = set_broken_checkpoints_aside(tmp_path)
    assert "checkpoint_latest.pth is damaged" in note
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoint_latest.pth.broken"}


def test_fold_in_training_is_not_touched(tmp_path):
    write_checkpoint(tmp_path / "checkpoint_latest.pth", cut_off=True)  # being written
    with holding(tmp_path / LOCK), pytest.raises(TrainingError, match="Another process trains"):
        prepare_fold(tmp_path)
    assert (tmp_path / "checkpoint_latest.pth").is_file()
    assert prepare_fold(tmp_path)[0] == []


def test_file_system_without_locks_is_noted(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError("no locks available")

    monkeypatch.setattr("nnunet_ext.files.fold_lock.try_lock", refuse)
    options, notes = prepare_fold(tmp_path)
    assert options == []
    assert "no locks available" in notes[0]


def test_command_keeps_the_lock_until_it_is_killed(tmp_path):
    command = [sys.executable, "-m", "nnunet_ext", "step", "train", str(tmp_path), "--"]
    script = "import sys, time; print('options', sys.argv[1:], flush=True); time.sleep(60)"
    process = subprocess.Popen([*command, sys.executable, "-c", script], text=True, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline().startswith(sys.executable)  # what is run
        assert process.stdout.readline() == "options []\n"
        assert try_lock(tmp_path / LOCK) is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    lock = try_lock(tmp_path / LOCK)
    assert lock is not None
    os.close(lock)
