"""Every command that prints a table, where standard output is no terminal: nothing is cut on 80 columns."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from label_cases import tumour, write_dataset_json, write_folder, write_image
from model_folders import model_folder
from planned_dataset import write_planned_dataset
from rich.console import Console
from typer.testing import CliRunner

from nnunet_ext import cli
from nnunet_ext.cli import app
from nnunet_ext.evaluation.markdown import format_number
from nnunet_ext.evaluation.summary import heading
from nnunet_ext.planning.memory_table import PlannedStep, memory_table
from nnunet_ext.planning.training_step import StepCost
from nnunet_ext.testing import Case
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers import TRAINERS, ModalityPairingTrainer
from nnunet_ext.version import version_text

REGIONS = ("enhancing tumor", "[tumor-core]", "non_enhancing_core_with_necrosis", "cystic component", "whole tumor")
CHANNELS = ("FLAIR", "T1-weighted_with_contrast_agent")


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    """Standard output and error of a command on a screen of 80 columns that is no terminal."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def table_lines(output: str) -> Iterator[str]:
    return (line for line in output.splitlines() if line[:1] in "┏┃┡│├└")


def shows(output: str, *texts: str) -> None:
    """Every word is there in one piece, and no line of a table is longer than the screen."""
    words = output.split()
    for text in texts:
        assert set(text.split()) <= set(words), (text, output)
    assert "…" not in output
    assert max(map(len, table_lines(output)), default=0) <= 80


def content(*arguments: object, code: int = 0):
    return json.loads(run(*arguments, "--json", code=code)[0])


@pytest.fixture
def labels(tmp_path):
    """References and predictions of a data set with many regions."""
    values = {name: [1, 2, 3][: 1 + index % 3] for index, name in enumerate(REGIONS)}
    description = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, **values},
        "regions_class_order": [1, 2, 3],
        "file_ending": ".nii.gz",
    }
    write_dataset_json(tmp_path, description)
    write_folder(tmp_path / "labelsTr", {"a": tumour(), "b": tumour()})
    write_folder(tmp_path / "pred", {"a": tumour(), "b": tumour(1)})
    return tmp_path


@pytest.fixture
def model(tmp_path, monkeypatch):
    """An untrained model, and an incomplete and a complete case."""
    torch.manual_seed(0)
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))
    for case, number in (("complete", 2), ("incomplete", 1)):
        for channel in range(number):
            image = np.random.default_rng(channel).uniform(1, 2, (8, 8, 8)).astype(np.float32)
            write_image(tmp_path / "images" / f"{case}_{channel:04d}.nii.gz", image)
    write_image(tmp_path / "labels" / "complete.nii.gz", np.ones((8, 8, 8), np.uint8))
    write_image(tmp_path / "labels" / "incomplete.nii.gz", np.ones((8, 8, 8), np.uint8))
    return model_folder(ModalityPairingTrainer, Case(channels=CHANNELS, patch_size=(8, 8, 8)), tmp_path)


def test_list():
    output, _ = run("list")
    shows(output, *(trainer.paper for trainer in TRAINERS))
    assert all(trainer.__name__ in output for trainer in TRAINERS)
    assert len(output.splitlines()) <= 24  # a screen
    shows(run("list", "--long")[0], *(f"{trainer.__name__} {trainer.adds}" for trainer in TRAINERS))
    assert [entry["trainer"] for entry in content("list")] == [trainer.__name__ for trainer in TRAINERS]


def test_doctor(monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    output, _ = run("doctor", code=1)
    shows(output, "nnUNet_extTrainer: nnUNet_raw: nnunetv2:")
    failed = {entry["name"] for entry in content("doctor", code=1) if not entry["passed"]}
    assert "nnUNet_raw" in failed


def test_evaluate(labels):
    folders = ("evaluate", labels / "labelsTr", labels / "pred", "-o", labels / "out", "-np", 1)
    output, _ = run(*folders)
    summary = json.loads((labels / "out" / "summary.json").read_text())
    numbers = [
        format_number(metric["mean"]) for region in summary["regions"].values() for metric in region["metrics"].values()
    ]
    metrics = summary["regions"][REGIONS[0]]["metrics"]
    shows(output, *REGIONS, *(heading(metric, summary) for metric in metrics), *numbers)
    assert content(*folders) == summary


def test_determine(labels):
    folders = (labels / "pred", labels / "labelsTr", "-o", labels / "pp.pkl")
    assert content("postprocess", "determine", *folders, "-np", 1) == json.loads((labels / "pp.json").read_text())


def test_complete_subsets_and_strip(model, tmp_path):
    found = content("check", tmp_path / "images", "-m", model, "-np", 1, code=1)
    output, _ = run("check", tmp_path / "images", "-m", model, "-np", 1, code=1)
    shows(output, *(f"{each['case']} {each['severity']} {each['kind']}" for each in found["findings"]), "error")

    arguments = ("complete", tmp_path / "images", tmp_path / "complete", "-m", model, "-np", 1)
    shows(run(*arguments)[0], f"incomplete {CHANNELS[1]}")
    arguments = ("complete", tmp_path / "images", tmp_path / "again", "-m", model, "-np", 1)
    assert content(*arguments)["lacking"] == {"incomplete": [CHANNELS[1]]}

    (tmp_path / "images" / "incomplete_0000.nii.gz").unlink()
    folders = ("-i", tmp_path / "images", "-r", tmp_path / "labels", "-o", tmp_path / "out", "--disable_tta")
    arguments = ("subsets", model, *folders, "-device", "cpu")
    output, _ = run(*arguments)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    shows(output, *CHANNELS, *(format_number(row["mean"]) for row in summary["subsets"].values()), "● ○ mean")
    assert content(*arguments) == summary

    shows(run("strip", model, "-o", tmp_path / "stripped")[0], "fold_0/checkpoint_final.pth [MB]")
    (entry,) = content("strip", model, "-o", tmp_path / "stripped_again")
    assert entry["bytes_after"] < entry["bytes_before"]


def test_plan(tmp_path, monkeypatch):
    folder = write_planned_dataset(tmp_path, monkeypatch, shape=(24, 28, 24))
    (folder / "nnUNetPlans.json").write_text(json.dumps(Case().plans | {"plans_name": "nnUNetPlans"}))
    arguments = ("plan", "-d", 999, "-tr", "AttentionFusionTrainer", "num_epochs=2")
    written = content(*arguments)
    assert (written["file"], written["is_new"]) == (str(folder / f"{written['plans']}.json"), True)
    assert written["notes"] == ["Master modality: T1ce"]
    output, _ = run(*arguments)
    assert output.startswith("Master modality: T1ce\nKept ")


def test_plan_for_memory():
    def row(trainer, plans):
        cost = StepCost(parameters=101_234_567, fixed=10**9, passes=20 * 10**9, operations=12_345 * 10**9)
        return PlannedStep("3d_cascade_fullres", trainer, "PlainConvUNet", plans, (128, 160, 112), 14, cost)

    own, plans = "AutoencoderRegularizedTrainerNNUNetDA", "nnUNetExtAutoencoderRegularizedNNUNetDAPlans_24G"
    rows = [row(own, plans), row("nnUNetTrainer", plans), row("nnUNetTrainer", "nnUNetPlans")]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(memory_table(rows, 24))
    output = capture.get()
    shows(
        output, "3d_cascade_fullres nnUNetPlans 128x160x112 14 101.23 21.00 88% 12345", "weights [M] memory [GB] [Gop]"
    )
    # headings of two lines, the configuration and three rows, with a rule above, between and below
    assert len(list(table_lines(output))) == 9


def test_help_is_whole():
    output, _ = run("evaluate", "--help")
    assert "[REGION=]MM" in output  # markup for Rich
    assert "[brats2020|brats2018|nan]" in output.replace("<", "[").replace(">", "]")


def test_version():
    assert run("--version")[0] == f"nnunet_ext {version_text()}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "_NNUNET_EXT_COMPLETE" in run("--show-completion", shell)[0].replace("_ROOT_", "_NNUNET_EXT_")


def test_every_table_is_printed_by_the_shared_function_and_as_json():
    with_json = {
        name
        for name, command in _commands(typer.main.get_command(app))
        if any("--json" in option.opts for option in command.params)
    }
    here = {"check", "list", "doctor", "evaluate", "determine", "complete", "subsets", "strip", "plan"}
    elsewhere = {
        "uncertainty",
        "calibrate",
        "study",
        "transfer",
    }  # by the same function, of words and numbers of known length
    assert here | elsewhere <= with_json
    for file in Path(cli.__file__).parent.glob("*.py"):
        assert "rich" not in file.read_text().replace("rich_markup_mode", ""), f"{file}: use tables.print_table"


def _commands(group):
    for name, command in group.commands.items():
        yield from _commands(command) if hasattr(command, "commands") else [(name, command)]
