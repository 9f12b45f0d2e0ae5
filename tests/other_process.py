"""Another process that holds a lock, as a job beside this one does."""

import subprocess
import sys
from contextlib import contextmanager

HOLD = (
    "import sys; from pathlib import Path; from nnunet_ext.files.locks import try_lock; "
    "print([try_lock(Path(name)) is not None for name in sys.argv[1:]], flush=True); sys.stdin.read()"
)


@contextmanager
def holding(*paths):
    """Lock files are held while the block runs; gives the process."""
    command = [sys.executable, "-c", HOLD, *map(str, paths)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"{[True] * len(paths)}\n"
        yield process
    finally:
        process.kill()
        process.communicate()
