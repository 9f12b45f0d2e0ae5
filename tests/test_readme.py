"""The README's commands: ours run as far as their files are there, nnU-Net's own parsers accept its, make's exist."""

import argparse
import json
import re
import shlex
import sys
from importlib.metadata import entry_points

import pytest
from workspace import CHECKOUT

from nnunet_ext import cli
from nnunet_ext.testing import Case
from nnunet_ext.trainers import TRAINERS

# commands whose own tests run them on images and models
NEED_FILES = (
    "check",
    "attention",
    "convert",
    "evaluate",
    "postprocess",
    "report",
    "strip",
    "transfer",
    "uncertainty",
    "calibrate",
)
README = (CHECKOUT / "README.md").read_text()


def commands(name):
    """Commands of the README's bash blocks that start with a name, loop variables replaced."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL))
    lines = [line.strip().replace("$fold", "0") for line in blocks.replace("\\\n", "").splitlines()]
    return sorted({line.split(" || ")[0] for line in lines if line.startswith(name)})


@pytest.mark.parametrize("command", commands("nnunet_ext "))
def test_own_commands_run(command, tmp_path, monkeypatch, capsys):
    arguments = shlex.split(command)
    case = Case()
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        folder = tmp_path / variable / "Dataset999_Case"
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text(json.dumps(case.dataset_json))
        monkeypatch.setenv(variable, str(folder.parent))
    plans = {key: value for key, value in case.plans.items() if key != "nnunet_ext"}  # as nnU-Net writes them
    (tmp_path / "nnUNet_preprocessed" / "Dataset999_Case" / "nnUNetPlans.json").write_text(json.dumps(plans))
    monkeypatch.setenv("nnUNet_extTrainer", str(CHECKOUT / "nnunet_ext" / "plugin"))
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    error = capsys.readouterr().err
    if arguments[1] in NEED_FILES:
        # the README's placeholders are not there; wrong usage would be exit code 2
        assert exit_.value.code == 1, error
        assert error.startswith("Error: ")
    else:
        assert not exit_.value.code, error


class Parsed(Exception):  # noqa: N818 - not an error
    """Raised in place of running a command whose arguments nnU-Net has accepted."""


@pytest.mark.parametrize("command", commands("nnUNetv2_"))
def test_nnunet_accepts_the_arguments(command, monkeypatch):
    name, *arguments = shlex.split(command)
    (script,) = entry_points(group="console_scripts", name=name)
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(Parsed):
        script.load()()


def test_make_targets_exist():
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "lint"} <= targets
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_table_names_every_trainer():
    assert all(f"`{trainer.__name__}`" in README for trainer in TRAINERS)


def test_linked_files_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert all((CHECKOUT / link).exists() for link in links)
