"""A lock is held by one process, and never by what is left of a killed one."""

import os
import signal
import subprocess
import sys

import pytest
from other_process import holding

from nnunet_ext.files.locks import try_lock

# takes the lock, starts a worker that outlives it, and turns into another command
PARENT = """
import os, sys, time
from pathlib import Path
from nnunet_ext.files.locks import try_lock
assert try_lock(Path(sys.argv[1])) is not None
worker = os.fork()
if worker == 0:
    time.sleep(60)
    os._exit(0)
print(worker, flush=True)
os.execv(sys.executable, [sys.executable, "-c", "import time; print('turned', flush=True); time.sleep(60)"])
"""


def is_free(path):
    lock = try_lock(path)
    if lock is not None:
        os.close(lock)
    return lock is not None


def test_lock_is_held_by_one_process(tmp_path):
    with holding(tmp_path / "lock"):
        assert not is_free(tmp_path / "lock")
        assert is_free(tmp_path / "other")
    assert is_free(tmp_path / "lock")


def test_lock_lives_with_the_command_and_not_with_its_workers(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    try:
        assert process.stdout.readline() == "turned\n"
        assert not is_free(tmp_path / "lock")
        process.kill()
        process.wait()
        os.kill(worker, 0)  # alive
        assert is_free(tmp_path / "lock")
    finally:
        process.kill()
        os.kill(worker, signal.SIGKILL)
        process.communicate()


def test_planted_link_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        try_lock(tmp_path / "lock")
    assert not (tmp_path / "victim").exists()
