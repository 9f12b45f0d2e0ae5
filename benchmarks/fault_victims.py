"""Processes that faults are done to: started, struck at a chosen moment, and looked after until nothing is left."""

import atexit
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
_ended: dict[int, int] = {}  # process -> status, of children and of orphans that came to this process


def adopt_orphans() -> None:
    """Become the parent of processes whose parent dies, so that they can be seen to end (Linux alone)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Victim:
    """A command in a session of its own.

    Args:
        pid: Its process, which leads the session.
        log: File with what it prints.
    """

    def __init__(self, pid: int, log: Path):
        self.pid, self.log, self.start = pid, log, time.monotonic()

    @property
    def code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        _reap()
        return _ended.get(self.pid)

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.start

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        return wait_until(lambda: self.code is not None, seconds)

    def members(self) -> list[int]:
        """Living processes of its session."""
        return [pid for pid, (_, session, state) in _processes().items() if session == self.pid and state not in "ZX"]

    def workers(self) -> list[int]:
        """Living children of the process itself."""
        found = _processes().items()
        return [pid for pid, (parent, session, state) in found if parent == self.pid == session and state not in "ZX"]

    def strike(self, target: str, how: signal.Signals, choose: Callable[[list[int]], int]) -> bool:
        """Send a signal to the whole ``group``, the ``main`` process alone, or one ``worker``; False without one."""
        try:
            if target == "group":
                os.killpg(self.pid, how)
            elif target == "main":
                os.kill(self.pid, how)
            elif workers := self.workers():
                os.kill(choose(workers), how)
            else:
                return False
        except ProcessLookupError:
            return False
        return True

    def bury(self, seconds: float) -> list[str]:
        """Wait for what is left of its session, kill it, and say what it was."""
        wait_until(lambda: not self.members(), seconds, 0.1)
        left = []
        for pid in self.members():
            try:
                left.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()[-120:])
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue  # it has ended just now
        wait_until(lambda: not self.members(), 10)
        return left


def fork(
    entry: Callable[[], object],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    fork_pools: bool = False,
) -> Victim:
    """Run a command's entry function in a copy of this process, which has imported everything.

    Args:
        entry: What the console script calls.
        arguments: Its command line, the name of the command included.
        environment: Variables to set.
        log: File for what it prints.
        fork_pools: Whether nnU-Net's pools, which it spawns, are forked as well, so that they need not import all.
    """
    log.touch()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Victim(pid, log)
    code = 1
    try:
        os.setsid()
        _ended.clear()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        _default_signals()
        os.environ.update(environment)
        sys.argv = list(arguments)
        if fork_pools:
            get_context = multiprocessing.get_context
            multiprocessing.get_context = lambda method=None: get_context("fork")  # type: ignore[assignment]
        code = _call(entry)
    finally:
        os._exit(code)


def launch(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Victim:
    """Run a command as a user does."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]],
            env=os.environ | dict(environment) | {"PYTHONUNBUFFERED": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_default_signals,
        )
    process.returncode = 0  # whose end is noticed here, not by Popen
    return Victim(process.pid, log)


def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.02) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def _default_signals() -> None:
    """As in a terminal; a shell without one lets commands in the background ignore ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _call(entry: Callable[[], object]) -> int:
    """Exit code of an entry function, after what the interpreter does at its end."""
    try:
        entry()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc()
    return code


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _ended[pid] = os.waitstatus_to_exitcode(status)


def _processes() -> dict[int, tuple[int, int, str]]:
    """Process -> parent, session, state."""
    _reap()
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(entry)] = (int(fields[1]), int(fields[3]), fields[0])
    return found
