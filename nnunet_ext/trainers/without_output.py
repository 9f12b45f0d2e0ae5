"""Trainers that are made to be asked and not to train."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory


@contextmanager
def without_output() -> Iterator[None]:
    """Let trainers that are made in the block write into a folder that is thrown away, and log on no service.

    nnU-Net's trainers open a log file when they are made.
    """
    kept = {name: os.environ.get(name) for name in ("nnUNet_results", "nnUNet_wandb_enabled")}
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        os.environ.update(nnUNet_results=folder, nnUNet_wandb_enabled="0")
        try:
            yield
        finally:
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
