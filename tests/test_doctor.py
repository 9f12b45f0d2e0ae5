"""The checks, their remedies for the shell at hand, and the search path that keeps what is there."""

import os

import pytest

from nnunet_ext import doctor

PLUGIN = str(doctor.plugin_folder())


def checks(environment, monkeypatch):
    """Name -> check, with the variables that nnU-Net reads set the same way."""
    for variable in ("nnUNet_extTrainer", *doctor.NNUNET_FOLDERS):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return {check.name: check for check in doctor.run_checks(os.environ)}


@pytest.fixture
def complete(tmp_path):
    environment = {"nnUNet_extTrainer": PLUGIN}
    for variable in doctor.NNUNET_FOLDERS:
        (tmp_path / variable).mkdir()
        environment[variable] = str(tmp_path / variable)
    return environment


def test_complete_environment_passes(complete, monkeypatch):
    assert all(check.passed for check in checks(complete, monkeypatch).values())


def test_unset_variable_fails_with_the_line_that_sets_it(complete, monkeypatch):
    del complete["nnUNet_extTrainer"]
    check = checks(complete, monkeypatch)["nnUNet_extTrainer"]
    assert not check.passed
    assert f'export nnUNet_extTrainer="{PLUGIN}"' in check.remedy[0]


def test_variable_that_points_elsewhere_fails_and_keeps_the_other_folder(complete, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    check = checks(complete | {"nnUNet_extTrainer": str(other)}, monkeypatch)["nnUNet_extTrainer"]
    assert not check.passed
    assert f"{other}{os.pathsep}{PLUGIN}" in check.remedy[0]


def test_missing_folder_in_the_variable_is_named(complete, monkeypatch):
    environment = complete | {"nnUNet_extTrainer": os.pathsep.join(["/no/such/folder", PLUGIN])}
    check = checks(environment, monkeypatch)["folders in nnUNet_extTrainer"]
    assert not check.passed
    assert "/no/such/folder" in check.detail


def test_missing_and_unset_nnunet_folders_fail(complete, tmp_path, monkeypatch):
    del complete["nnUNet_raw"]
    result = checks(complete | {"nnUNet_results": str(tmp_path / "none")}, monkeypatch)
    assert not result["nnUNet_raw"].passed
    assert result["nnUNet_results"].remedy == (f'mkdir -p "{tmp_path / "none"}"',)


@pytest.mark.parametrize(("installed", "passed"), [("2.8.0", False), ("2.8.1", True), ("2.10.0", True), ("3.0", False)])
def test_version_of_nnunet(installed, passed, complete, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: installed)
    check = checks(complete, monkeypatch)["nnunetv2"]
    assert check.passed is passed
    assert passed or check.remedy == ('pip install "nnunetv2>=2.8.1,<3"',)


def test_trainer_hidden_by_another_folder_fails(complete, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("class ModalityPairingTrainer:\n    pass\n")
    environment = complete | {"nnUNet_extTrainer": os.pathsep.join([str(other), PLUGIN])}
    check = checks(environment, monkeypatch)["trainers"]
    assert not check.passed
    assert "ModalityPairingTrainer" in check.detail


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SHELL": "/bin/bash"}, "echo 'export V=\"x\"' >> ~/.bashrc"),
        ({"SHELL": "/bin/zsh"}, "~/.zshrc"),
        ({"SHELL": "/usr/bin/fish"}, 'set -Ux V "x"'),
        ({"SHELL": "/bin/bash", "VIRTUAL_ENV": "/v"}, '>> "/v/bin/activate"'),
        ({"SHELL": "/usr/bin/fish", "VIRTUAL_ENV": "/v"}, '>> "/v/bin/activate.fish"'),
        ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "seg"}, 'conda env config vars set V="x" && conda activate seg'),
        ({"SLURM_JOB_ID": "1"}, "in the SLURM script"),
    ],
)
def test_remedies_fit_the_shell_and_environment(environment, expected):
    assert any(expected in line for line in doctor.how_to_set("V", "x", environment))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", [PLUGIN]),
        (PLUGIN, [PLUGIN]),
        (os.pathsep.join(["/a", PLUGIN, "/b"]), ["/a", "/b", PLUGIN]),
        (PLUGIN + "/", [PLUGIN]),
    ],
)
def test_search_path_keeps_other_folders_and_holds_ours_once(value, expected):
    assert doctor.extended_search_path({"nnUNet_extTrainer": value}) == os.pathsep.join(expected)
