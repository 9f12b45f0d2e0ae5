"""Lines to type that set an environment variable, for the shell and the environment at hand."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple


class Shell(NamedTuple):
    """How a shell sets variables.

    Attributes:
        quote: Makes one word of any text.
        line: Sets a variable, with ``{variable}`` and a quoted ``{value}``.
        startup: File that it reads when it starts, or None where it keeps variables by itself.
        activate: A virtual environment's script for it.
    """

    quote: Callable[[str], str]
    line: str
    startup: str | None
    activate: str

    def set_variable(self, variable: str, value: str) -> str:
        """The line that sets a variable in a running shell."""
        return self.line.format(variable=variable, value=self.quote(value))


def _quote_fish(text: str) -> str:
    # fish reads \\ and \' between single quotes
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return text if text == shlex.quote(text) else f"'{escaped}'"


def _quote_csh(text: str) -> str:
    # the history is expanded between single quotes, too
    return shlex.quote(text).replace("!", "\\!")


EXPORT = "export {variable}={value}"
POSIX = Shell(shlex.quote, EXPORT, "~/.profile", "activate")
SHELLS = {
    "bash": Shell(shlex.quote, EXPORT, "~/.bashrc", "activate"),
    "zsh": Shell(shlex.quote, EXPORT, "~/.zshrc", "activate"),
    "fish": Shell(_quote_fish, "set -gx {variable} {value}", None, "activate.fish"),
    "tcsh": Shell(_quote_csh, "setenv {variable} {value}", "~/.tcshrc", "activate.csh"),
    "csh": Shell(_quote_csh, "setenv {variable} {value}", "~/.cshrc", "activate.csh"),
}


def shell_of(environment: Mapping[str, str]) -> Shell:
    """The user's shell, by ``SHELL``; bash where it is not set."""
    name = Path(environment.get("SHELL", "bash")).name
    return SHELLS.get(name, POSIX)


def command_line(words: Iterable[object], environment: Mapping[str, str]) -> str:
    """A command to type: each word is one word for the user's shell, whatever is in it.

    Args:
        words: Command and arguments.
        environment: Environment that tells which shell this is.
    """
    quote = shell_of(environment).quote
    return " ".join(quote(str(word)) for word in words)


def how_to_set(variable: str, value: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Lines that set an environment variable, now and for good, for the shell and environment at hand.

    Args:
        variable: Name of the variable.
        value: Its value.
        environment: Environment that tells which shell, virtual environment or cluster this is.
    """
    shell = shell_of(environment)
    now = shell.set_variable(variable, value)
    lines = [f"now, in this shell:          {now}"]
    if "CONDA_PREFIX" in environment:
        name = environment.get("CONDA_DEFAULT_ENV", "base")
        setting = (
            f"conda env config vars set {shell.quote(f'{variable}={value}')} && conda activate {shell.quote(name)}"
        )
        lines.append(f"for good, conda environment: {setting}")
    elif "VIRTUAL_ENV" in environment:
        script = str(Path(environment["VIRTUAL_ENV"], "bin", shell.activate))
        lines.append(f"for good, in the venv:       echo {shell.quote(now)} >> {shell.quote(script)}")
    elif shell.startup is None:
        lines.append(f"for good:                    set -Ux {variable} {shell.quote(value)}")
    else:
        lines.append(f"for good:                    echo {shell.quote(now)} >> {shell.startup}")
    if any(key.startswith("SLURM") for key in environment):
        # whatever the shell at hand: nearly all such scripts are bash
        export = POSIX.set_variable(variable, value)
        lines.append(f"in the SLURM script (bash):  {export}   (a line before nnUNetv2_train)")
    return tuple(lines)
