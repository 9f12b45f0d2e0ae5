"""One process trains a fold, and those that it starts for its GPUs."""

import os
import subprocess
import sys

import pytest
from other_process import holding

from nnunet_ext.files.fold_lock import LOCK, TrainingError, lock_fold

LOCK_IT = """
import subprocess, sys
from pathlib import Path
from nnunet_ext.files.fold_lock import lock_fold
lock_fold(Path(sys.argv[1]))
"""
IN_ITS_CHILD = f"{LOCK_IT}sys.exit(subprocess.call([sys.executable, '-c', {LOCK_IT!r}, sys.argv[1]]))"


def test_another_process_is_refused_and_the_same_is_not(tmp_path):
    with holding(tmp_path / LOCK), pytest.raises(TrainingError, match=f"Another process trains in {tmp_path}"):
        lock_fold(tmp_path)
    assert lock_fold(tmp_path) is None
    assert lock_fold(tmp_path) is None
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_process_that_the_holder_started_works_under_its_lock(tmp_path):
    assert subprocess.run([sys.executable, "-c", IN_ITS_CHILD, str(tmp_path)]).returncode == 0


def test_file_system_without_locks_is_noted(tmp_path):
    (tmp_path / LOCK).mkdir()
    assert str(tmp_path) in lock_fold(tmp_path)
