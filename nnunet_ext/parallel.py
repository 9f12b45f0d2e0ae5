"""Work over cases in parallel processes, with a progress bar and with all problems listed at once."""

import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn, TypeVar

from nnunet_ext.errors import InputError, UserError
from nnunet_ext.progress import track

Result = TypeVar("Result")


def default_num_processes() -> int:
    """Processors that this process may use, at most 8, as nnU-Net's own default."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, available)


def map_cases(
    function: Callable[..., Result],
    cases: Sequence[tuple[Any, ...]],
    num_processes: int | None,
    description: str,
    *,
    names: Sequence[str] | None = None,
    stop_at_first: bool = False,
) -> list[Result]:
    """``function(*arguments)`` for the arguments of every case, in the order of the cases.

    Args:
        function: Function at module level; it may raise :class:`InputError`.
        cases: Arguments of each call; they and the results are pickled.
        num_processes: Number of processes; 1 computes in this process, None takes :func:`default_num_processes`.
        description: Words in front of the progress bar, which goes to standard error.
        names: Names of the cases for the progress bar; None takes what each call is given first.
        stop_at_first: Start no more calls after the first error, for writing: a full disk is full for all cases.

    Raises:
        InputError: At least one call raised one; the message lists the problems of all of them, or of the first.
        UserError: The operating system killed a process.
    """
    num_processes = num_processes or default_num_processes()
    results: dict[int, Result] = {}
    problems: dict[int, list[str]] = {}
    calls = _calls_in_this_process if min(num_processes, len(cases)) <= 1 else _calls_in_processes
    # closed at once after an interruption, as it is what ends the workers
    with closing(calls(function, cases, num_processes)) as finished:
        for index, result in track(finished, description, len(cases), lambda item: _name(names, cases, item[0])):
            try:
                results[index] = result()
            except InputError as error:
                if stop_at_first:
                    raise
                problems[index] = error.problems
            except BrokenProcessPool:
                raise UserError(
                    "A worker process was killed, most likely for lack of memory. Use fewer processes "
                    "(--num-processes)."
                ) from None
    if problems:
        raise InputError([problem for index in sorted(problems) for problem in problems[index]])
    return [results[index] for index in range(len(cases))]


def _name(names: Sequence[str] | None, cases: Sequence[tuple[Any, ...]], index: int) -> str:
    if names is not None:
        return names[index]
    first = cases[index][0]
    return first.name if isinstance(first, Path) else str(getattr(first, "name", first))


def _calls_in_this_process(
    function: Callable[..., Result], cases: Sequence[tuple[Any, ...]], num_processes: int
) -> Generator[tuple[int, Callable[[], Result]]]:
    for index, arguments in enumerate(cases):
        yield index, lambda arguments=arguments: function(*arguments)  # type: ignore[misc]


def _calls_in_processes(
    function: Callable[..., Result], cases: Sequence[tuple[Any, ...]], num_processes: int
) -> Generator[tuple[int, Callable[[], Result]]]:
    # "spawn" as in nnU-Net: a forked process may hang on locks that PyTorch's threads held.
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with theirs, ours, ProcessPoolExecutor(min(num_processes, len(cases)), context, _end_with, (theirs,)) as pool:
        futures: dict[Future[Result], int] = {
            pool.submit(function, *arguments): index for index, arguments in enumerate(cases)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result
        except BaseException:
            ours.close()
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def forked_processes_end_with_this_one() -> Iterator[None]:
    """Processes that are forked while the block runs end when this process does, even where it is killed.

    The others go on without it: a data loader's workers, for example, wait for ever for room in their queue.
    """
    global _forked_end
    _keep_pipe()
    _forked_end = True
    try:
        yield
    finally:
        _forked_end = False


_pipe: tuple[Connection, Connection] | None = None  # of this process; its second end is closed when it ends
_forked_end = False


def _keep_pipe() -> None:
    global _pipe
    _watch_forks()
    if _pipe is None:
        _pipe = multiprocessing.Pipe(duplex=False)


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_in_forked_process)


def _in_forked_process() -> None:
    global _pipe, _forked_end
    if _pipe is None:
        return
    theirs, ours = _pipe
    ours.close()  # in every forked process, so that its parent alone has it
    _pipe, end, _forked_end = None, _forked_end, False
    if end:
        Thread(target=_exit_when_closed, args=(theirs,), daemon=True).start()


@contextmanager
def exit_when_a_child_is_killed(say: Callable[[str], None]) -> Iterator[None]:
    """End this process with code 1 as soon as the system kills a child process of it while the block runs.

    A pool of Python's only starts another worker, and waits for ever for the result of the one that was killed, or for
    the lock that it held. SIGTERM does not count: it is how pools end their own workers. A worker that is killed within
    a twentieth of a second of its start is not seen.

    Args:
        say: Is told the signal, before the end.
    """
    done = Event()
    Thread(target=_watch_children, args=(done, say), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch_children(done: Event, say: Callable[[str], None]) -> None:
    children = {child.pid: child for child in multiprocessing.active_children()}
    while not done.wait(0.05):
        children |= {child.pid: child for child in multiprocessing.active_children()}
        codes = [child.exitcode for child in children.values() if child.exitcode is not None]
        if killed := [-code for code in codes if code < 0 and code != -signal.SIGTERM]:
            try:
                say(signal.Signals(killed[0]).name)
            finally:
                _end_with_children()


def _end_with_children() -> NoReturn:
    """Without clean-up, which would wait for the killed process as well."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _end_with(command: Connection) -> None:
    """Make a worker end when its command closes the pipe's other end, or is killed, which closes it, too."""
    # ctrl-C reaches workers as well, and each would print a traceback
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_exit_when_closed, args=(command,), daemon=True).start()


def _exit_when_closed(command: Connection) -> None:
    with suppress(EOFError, OSError):
        command.recv()  # nothing is ever sent
    os._exit(1)
