"""One command of the demo: whether its results are there already, and running it."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.demo.error import DemoError

_SUCCESS = "[the command above ended well]"


@dataclass(frozen=True)
class Step:
    """One command and the files it reads and writes.

    Attributes:
        title: What the step does, for people.
        command: Program and arguments.
        inputs: Files whose change makes the step's results out of date.
        outputs: Files that exist when the step has done its work.
    """

    title: str
    command: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]

    @property
    def command_line(self) -> str:
        """The command as one types it in a shell."""
        return shlex.join(self.command)


def command(template: str, **values: object) -> tuple[str, ...]:
    """Words of a command: `template` split at spaces, then filled in, so that a value may itself contain spaces.

    Args:
        template: Command line with `{name}` for each value.
        **values: Value of each name.
    """
    return tuple(word.format_map(values) for word in template.split())


def is_finished(step: Step, log: Path) -> bool:
    """Whether the step's results can be reused.

    They can if the log records this very command line and its good end, all outputs exist, and none of them is older
    than any input, as in make. So changed data, changed settings and an interruption all lead to a new run.
    """
    if not all(path.exists() for path in (log, *step.inputs, *step.outputs)):
        return False
    lines = log.read_text(errors="replace").splitlines()
    if not lines or lines[0] != f"$ {step.command_line}" or lines[-1] != _SUCCESS:
        return False
    newest_input = max((path.stat().st_mtime_ns for path in step.inputs), default=0)
    return newest_input <= min(path.stat().st_mtime_ns for path in step.outputs)


def run(step: Step, log: Path, environment: Mapping[str, str], on_wait: Callable[[], object] = lambda: None) -> None:
    """Runs the command with its output in the log file.

    What an earlier run left of the outputs is deleted first, so that files found afterwards are this run's.

    Args:
        step: What to run.
        log: File to write.
        environment: Variables added to this process's own.
        on_wait: Called twice a second while the command runs.

    Raises:
        DemoError: The command does not exist, fails, or ends without its outputs; the message names command and log.
    """
    for path in step.outputs:
        path.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", buffering=1) as stream:
        stream.write(f"$ {step.command_line}\n")
        try:
            # a group of its own, so that an interruption also ends the processes the command has started
            process = subprocess.Popen(
                step.command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except FileNotFoundError:
            raise DemoError(f"There is no command {step.command[0]}. Is the package installed here?") from None
        try:
            while (code := _exit_code(process)) is None:
                on_wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        missing = [str(path) for path in step.outputs if not path.exists()]
        if code != 0 or missing:
            reason = f"ended with exit code {code}" if code != 0 else f"ended without writing {', '.join(missing)}"
            raise DemoError(f"This command {reason}:\n\n{step.command_line}\n\nIts output is in {log}")
        stream.write(f"\n{_SUCCESS}\n")


def last_line(log: Path, width: int = 60) -> str:
    """The last line of text a running command has written, cut to `width` characters; empty if there is none."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = stream.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip()[:width] for line in reversed(lines) if line.strip()), "")


def _exit_code(process: subprocess.Popen) -> int | None:
    try:
        return process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return None
