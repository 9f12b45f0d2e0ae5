"""The commands on saved probabilities, run as a user runs them."""

import numpy as np
import pytest
from label_cases import PLAIN_DATASET, write_folder
from saved_predictions import two_classes, write_predictions
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError


@pytest.fixture
def folds(tmp_path):
    """Two folds of a case each, and two other predictions of both cases, which agree about case b alone."""
    inside = np.zeros((4, 4, 4))
    inside[1:3] = 0.9
    for fold, case in enumerate("ab"):
        write_predictions(tmp_path / f"fold_{fold}", PLAIN_DATASET, {case: two_classes(inside)})
    write_folder(tmp_path / "labelsTr", dict.fromkeys("ab", (inside > 0.5).astype(np.uint8)))
    for name, of_a in (("x", inside), ("y", inside[::-1] * 0.1)):
        write_predictions(tmp_path / name, PLAIN_DATASET, {"a": two_classes(of_a), "b": two_classes(inside)})
    return tmp_path


def run(*arguments):
    """Output of a command that must succeed; errors of the user come out as exceptions."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("dash", [["-i"], []])
def test_members_are_given_as_to_nnunets_ensemble_or_plainly(folds, dash):
    output = run("uncertainty", *dash, folds / "x", folds / "y", "-o", folds / "out", "-np", 1)
    assert "look at a  lesion: expected Dice 0.000" in output
    assert "look at b" not in output
    assert "cases.csv, entropy, mean, mutual_information, uncertainty.json, variance" in output


def test_uncertainty_without_folders_says_what_to_type(folds):
    with pytest.raises(InputError, match="nnunet_ext uncertainty -i FOLD_0 FOLD_1 -o OUT"):
        run("uncertainty", "-o", folds / "out")


def test_calibrate_and_apply(folds):
    output = run(
        "calibrate", folds / "fold_0", folds / "fold_1", "-r", folds / "labelsTr", "-o", folds / "c.json", "-np", 1
    )
    assert "temperature of all classes: 0.25 (without each fold: 0.25, 0.25)" in output  # always right: more sure
    assert "last temperature there is to choose" in output
    assert "as saved" in output
    assert "Wrote c.json, c.png" in output
    output = run("apply-calibration", folds / "c.json", "-i", folds / "x", "-o", folds / "out", "-np", 1)
    assert "2 cases are of the cross-validation" in output
    assert (folds / "out" / "a.npz").is_file()
