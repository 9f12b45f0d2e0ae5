"""GPUs of one machine, each with one job at a time."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from other_process import holding

from nnunet_ext.errors import UserError
from nnunet_ext.workflow.gpu_slots import wait_for_gpus

PIPED = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def lock_of(folder, device):
    return folder / f"gpu{device}.lock"


def test_gpus_in_use_are_passed_over(tmp_path):
    with holding(lock_of(tmp_path, 4), lock_of(tmp_path, 9)):
        assert wait_for_gpus([4, 7, 9, 11], 2, tmp_path) == [7, 11]


def test_job_waits_and_holds_nothing_while_it_waits(tmp_path):
    command = [sys.executable, "-m", "nnunet_ext", "step", "on-gpu", "--devices", "0,1", "--number", "2", "--"]
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    folder = tmp_path / f"nnunet_ext_gpus_{os.getuid()}"
    folder.mkdir()
    with holding(lock_of(folder, 1)):
        job = subprocess.Popen([*command, sys.executable, "-c", script], env=environment, **PIPED)
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(4)
        with holding(lock_of(folder, 0)):  # fails if the waiting job keeps the GPU that is free
            pass
    output, _ = job.communicate(timeout=60)
    assert output.splitlines()[-1] == "0,1"


@pytest.mark.parametrize(("devices", "number"), [([], 1), ([0], 2), ([0, 1], 0)])
def test_more_gpus_than_there_are_is_an_error(tmp_path, devices, number):
    with pytest.raises(UserError, match="`devices`"):
        wait_for_gpus(devices, number, tmp_path)


def test_command_sees_its_gpu_alone(tmp_path):
    command = [sys.executable, "-m", "nnunet_ext", "step", "on-gpu", "--devices", "5,6", "--number", "1", "--"]
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    output = subprocess.check_output([*command, sys.executable, "-c", script], text=True, env=environment)
    assert output.splitlines()[-1] == "5"


def test_bad_list_of_gpus_is_an_error(tmp_path):
    command = [sys.executable, "-m", "nnunet_ext", "step", "on-gpu", "--devices", "a", "--", "true"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "Error: 'a' is not a list of numbers such as 0,1,2.\n"


def planted(folder):
    folder.with_name("theirs").mkdir()
    folder.symlink_to(folder.with_name("theirs"))


def open_to_all(folder):
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("make", [planted, open_to_all, Path.touch])
def test_folder_that_others_can_write_to_is_refused(make, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"nnunet_ext_gpus_{os.getuid()}"
    make(folder)
    with pytest.raises(UserError, match="is not a folder of yours that nobody else can write to"):
        wait_for_gpus([0], 1)
    assert not list(tmp_path.rglob("gpu0.lock"))


def test_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    (tmp_path / f"nnunet_ext_gpus_{me + 1}").mkdir(mode=0o700)
    with pytest.raises(UserError, match="is not a folder of yours"):
        wait_for_gpus([0], 1)


def test_folder_in_the_place_for_temporary_files_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert wait_for_gpus([3], 1) == [3]
    folder = tmp_path / f"nnunet_ext_gpus_{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert lock_of(folder, 3).is_file()
