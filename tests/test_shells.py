"""The lines work in the shells that they are for."""

import os
import shutil
import subprocess

import pytest

from nnunet_ext.shells import SHELLS, command_line, how_to_set

NASTY = """/data/it's "a" $HOME `x` \\ back\\slash !1 & b;c*"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SHELL": "/bin/bash"}, "echo 'export V=x' >> ~/.bashrc"),
        ({}, "echo 'export V=x' >> ~/.bashrc"),
        ({"SHELL": "/bin/zsh"}, "echo 'export V=x' >> ~/.zshrc"),
        ({"SHELL": "/bin/dash"}, "echo 'export V=x' >> ~/.profile"),
        ({"SHELL": "/bin/tcsh"}, "now, in this shell:          setenv V x"),
        ({"SHELL": "/bin/tcsh"}, "echo 'setenv V x' >> ~/.tcshrc"),
        ({"SHELL": "/bin/csh"}, "echo 'setenv V x' >> ~/.cshrc"),
        ({"SHELL": "/usr/bin/fish"}, "now, in this shell:          set -gx V x"),
        ({"SHELL": "/usr/bin/fish"}, "set -Ux V x"),
        ({"SHELL": "/bin/bash", "VIRTUAL_ENV": "/the v"}, "echo 'export V=x' >> '/the v/bin/activate'"),
        ({"SHELL": "/usr/bin/fish", "VIRTUAL_ENV": "/v"}, "echo 'set -gx V x' >> /v/bin/activate.fish"),
        ({"SHELL": "/bin/tcsh", "VIRTUAL_ENV": "/v"}, "echo 'setenv V x' >> /v/bin/activate.csh"),
        ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "seg"}, "conda env config vars set V=x && conda activate seg"),
        ({"SLURM_JOB_ID": "1", "SHELL": "/bin/tcsh"}, "in the SLURM script (bash):  export V=x "),
    ],
)
def test_lines_fit_the_shell_and_environment(environment, expected):
    assert any(expected in line for line in how_to_set("V", "x", environment))


def run(shell, script, folder):
    """What a shell prints; the script is a file, as somebody's start-up file is."""
    file = folder / f"script.{shell}"
    file.write_text(script)
    options = {"bash": ["--norc"], "zsh": ["-f"], "tcsh": ["-f"]}.get(shell, [])
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    result = subprocess.run([shell, *options, file], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("value", ["/data/raw", NASTY], ids=["plain", "nasty"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_value_arrives_now_and_for_good(shell, value, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    venv = {"SHELL": f"/bin/{shell}", "VIRTUAL_ENV": str(tmp_path / "it's a venv")}
    script = tmp_path / "it's a venv" / "bin" / SHELLS[shell].activate
    script.parent.mkdir(parents=True)
    now, for_good = (line.partition(":")[2].strip() for line in how_to_set("V", value, venv))
    assert run(shell, f"{now}\nprintenv V\n", tmp_path) == f"{value}\n"
    run(shell, f"{for_good}\n", tmp_path)
    assert run(shell, f"{script.read_text()}\nprintenv V\n", tmp_path) == f"{value}\n"


def test_words_of_a_command_are_one_word_each(tmp_path):
    for name in ("bash", "zsh", "fish", "tcsh"):
        if shutil.which(name):
            command = command_line(["printf", "%s\\n", NASTY, 5], {"SHELL": f"/bin/{name}"})
            assert run(name, f"{command}\n", tmp_path) == f"{NASTY}\n5\n"
