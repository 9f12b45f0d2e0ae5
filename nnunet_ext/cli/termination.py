"""SIGTERM, which clusters and Snakemake send, ends a command through its clean-up, as ctrl-C does."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def clean_exit_on_sigterm() -> Iterator[None]:
    """Exit with code 143 when SIGTERM arrives while the block runs, so that workers and what is half written go.

    Forked processes die of the signal at once. They must not have a handler of Python's: it forgets a signal that
    arrives while it forks, and nnU-Net's pools, whose workers are ended by that signal right after their start, would
    wait for a worker that has not heard it.
    """
    _watch_forks()
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _exit(number: int, _frame: Any) -> NoReturn:
    sys.exit(128 + number)


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(before=_suspend, after_in_parent=_resume)


def _suspend() -> None:
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _exit:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _suspended.add(os.getpid())


def _resume() -> None:
    if os.getpid() in _suspended:
        _suspended.clear()
        signal.signal(signal.SIGTERM, _exit)


_suspended: set[int] = set()  # this process, between the two
