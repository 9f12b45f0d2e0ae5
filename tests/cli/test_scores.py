"""The commands for conversion, evaluation and post-processing, run as a user runs them."""

import subprocess
import sys

import pytest
from label_cases import tumour, write_dataset_json, write_folder, write_image
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError


@pytest.fixture
def data(tmp_path):
    """Folder with ``labelsTr`` and ``pred``."""
    write_dataset_json(tmp_path)
    write_folder(tmp_path / "labelsTr", {"a": tumour(), "b": tumour()})
    write_folder(tmp_path / "pred", {"a": tumour(), "b": tumour(1)})
    return tmp_path


def run(*arguments):
    """Output of a command that must succeed; errors of the user come out as exceptions."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_evaluate_says_how_it_measured(data):
    output = run("evaluate", data / "labelsTr", data / "pred", "-o", data / "out", "--hd95", "directed", "-np", 1)
    assert "brats2020" in output
    assert "directed" in output
    assert "[mm]" in output  # Rich would take it for markup
    assert (data / "out" / "summary.json").is_file()


def test_evaluate_scores_lesions_and_surfaces(data):
    folders = (data / "labelsTr", data / "pred", "-o", data / "out", "-np", 1)
    output = run("evaluate", *folders, "--lesions", "brats2023", "--task", "men", "--nsd", "1", "--nsd", "tumor core=2")
    assert "Lesions: `brats2023 men`" in output
    assert "tumor core 2 mm" in output
    output = run("evaluate", *folders, "--match-dice", "0.5")
    assert "Detection: lesions are matched one to one from Dice 0.5 on" in output
    assert "Lesion-wise" not in output
    with pytest.raises(InputError, match="--lesions brats2023"):
        run("evaluate", *folders, "--task", "men")


def test_determine_says_what_it_is_worth_on_cases_left_out(data):
    noisy = tumour()
    noisy[9, 11, 11:13] = 2
    for case in "bcd":
        write_image(data / "pred" / f"{case}.nii.gz", noisy)
        write_image(data / "labelsTr" / f"{case}.nii.gz", tumour())
    arguments = ("--thresholds", "5,10", "--replace", "enhancing tumor=1", "-np", 1)
    output = run("postprocess", "determine", data / "pred", data / "labelsTr", "-o", data / "pp.pkl", *arguments)
    assert "applied  remove_small_components (whole tumor) below 5 voxels: mean Dice 0.9992 +0.0008 on the" in output
    assert "; +0.0008 on cases left out (95 % interval +0.0003 to +0.0011)" in output
    assert "refused  replace_small_region (enhancing tumor): no threshold improves" in output
    assert "Warning: remove_small_components (whole tumor): the best threshold is the first" in output


def test_determine_by_lesion_wise_dice_names_its_definition(data):
    folders = (data / "pred", data / "labelsTr", "-o", data / "pp.pkl", "--thresholds", "5", "-np", 1)
    output = run("postprocess", "determine", *folders, "--score", "lesion-dice", "--lesions", "brats2023")
    assert "no threshold improves the mean lesion-wise Dice" in output
    assert "Mean lesion-wise Dice (brats2023 gli)" in output
    with pytest.raises(InputError, match="--score lesion-dice"):
        run("postprocess", "determine", *folders, "--lesions", "brats2023")


@pytest.mark.parametrize("option", [("--thresholds", "5,ten"), ("--replace", "enhancing tumor"), ("--replace", "a=b")])
def test_determine_rejects_malformed_options(data, option):
    with pytest.raises(InputError, match=option[0]):
        run("postprocess", "determine", data / "pred", data / "labelsTr", "-o", data / "pp.pkl", *option)


def test_conversion_there_and_back(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    for word in ("t1", "t1ce", "t2", "flair", "seg"):
        write_image(tmp_path / "source" / f"A_{word}.nii.gz", tumour() + (tumour() == 3))
    assert "Enhancing tumour: label 4" in run("convert", "brats", tmp_path / "source", "-d", 137, "-np", 1)
    labels = tmp_path / "raw" / "Dataset137_BraTS" / "labelsTr"
    assert "Wrote 1 files" in run("convert", "brats-labels", labels, tmp_path / "back", "--style", "2020", "-np", 1)
    assert (tmp_path / "back" / "A.nii.gz").is_file()


def test_missing_raw_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(ValueError, match="nnUNet_raw is not set"):
        run("convert", "brats", tmp_path, "-d", 137)


def test_error_is_one_message_and_exit_code_1(data):
    (data / "pred" / "a.nii.gz").unlink()
    arguments = ["evaluate", data / "labelsTr", data / "pred", "-o", data / "out"]
    command = [sys.executable, "-c", "from nnunet_ext.cli import main; main()", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"Error: {data}/pred: no prediction for case 'a' of {data}/labelsTr.\n"
    assert result.stdout == ""
