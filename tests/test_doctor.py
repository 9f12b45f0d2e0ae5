"""The checks, and remedies that can work."""

import os
from importlib.metadata import version

import pytest
from host_releases import stated_range

from nnunet_ext import doctor, trainers
from nnunet_ext.host import version as host_version
from nnunet_ext.host.version import needed_version

PLUGIN = str(doctor.plugin_folder())


@pytest.fixture(autouse=True)
def _bash(monkeypatch):
    for variable in ("nnUNet_extTrainer", *doctor.NNUNET_FOLDERS, "CONDA_PREFIX", "VIRTUAL_ENV"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SHELL", "/bin/bash")


@pytest.fixture
def two_trainers(monkeypatch):
    """nnU-Net's search takes its time."""
    monkeypatch.setattr(trainers, "TRAINERS", (trainers.BiFPNTrainer, trainers.ModalityPairingTrainer))


def checks(environment, monkeypatch, check=doctor.run_checks):
    """Name -> check, with the variables that nnU-Net reads set the same way."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return {check.name: check for check in check(os.environ)}


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
    check = checks(complete, monkeypatch, doctor.check_search_path)["nnUNet_extTrainer"]
    assert not check.passed
    assert f"export nnUNet_extTrainer={PLUGIN}" in check.remedy[0]


def test_variable_that_points_elsewhere_fails_and_keeps_the_other_folder(complete, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    environment = complete | {"nnUNet_extTrainer": str(other)}
    check = checks(environment, monkeypatch, doctor.check_search_path)["nnUNet_extTrainer"]
    assert not check.passed
    assert f"{other}{os.pathsep}{PLUGIN}" in check.remedy[0]


def test_entries_that_are_no_folders_are_named_and_not_exported_again(complete, tmp_path, monkeypatch, two_trainers):
    (tmp_path / "other").mkdir()
    (tmp_path / "mine.py").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    entries = ["/no/such/folder", str(tmp_path / "mine.py"), "~/other", PLUGIN]
    check = checks(complete | {"nnUNet_extTrainer": os.pathsep.join(entries)}, monkeypatch)[
        "folders in nnUNet_extTrainer"
    ]
    assert not check.passed
    assert check.detail.split("; ") == [
        "/no/such/folder does not exist",
        f"{tmp_path / 'mine.py'} is a file",
        "~/other has a '~' that no shell has replaced",
    ]
    assert check.remedy[0].endswith(f"export nnUNet_extTrainer={tmp_path / 'other'}{os.pathsep}{PLUGIN}")


def test_missing_and_unset_nnunet_folders_fail(complete, tmp_path, monkeypatch):
    del complete["nnUNet_raw"]
    environment = complete | {"nnUNet_results": str(tmp_path / "the results")}
    result = checks(environment, monkeypatch, doctor.check_folders)
    assert not result["nnUNet_raw"].passed
    assert result["nnUNet_results"].remedy == (f"mkdir -p '{tmp_path / 'the results'}'",)


def remedy_of(value, complete, monkeypatch):
    check = checks(complete | {"nnUNet_results": value}, monkeypatch, doctor.check_folders)["nnUNet_results"]
    assert not check.passed
    return check.detail, check.remedy


ANOTHER = "export nnUNet_results=/path/to/nnUNet_results"


@pytest.mark.parametrize("name", ["file", "file/below", "link", "link/below"])
def test_no_folder_is_made_where_none_can_be(complete, tmp_path, monkeypatch, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    detail, remedy = remedy_of(str(tmp_path / name), complete, monkeypatch)
    assert str(tmp_path / name) in detail
    assert remedy[0].endswith(ANOTHER)
    assert not any("mkdir" in line for line in remedy)


def test_home_that_no_shell_has_replaced_is_replaced(complete, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    detail, remedy = remedy_of("~/models", complete, monkeypatch)
    assert remedy[0] == f"mkdir -p {tmp_path / 'models'}"
    assert remedy[1].endswith(f"export nnUNet_results={tmp_path / 'models'}")
    (tmp_path / "models").mkdir()
    detail, remedy = remedy_of("~/models", complete, monkeypatch)
    assert "'~'" in detail
    assert not any("mkdir" in line for line in remedy)


def test_folder_of_another_user_is_not_to_be_changed(complete, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: "models" not in str(path))
    assert remedy_of(str(tmp_path / "models"), complete, monkeypatch)[1] == (f"chmod u+rwx {tmp_path / 'models'}",)
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    assert remedy_of(str(tmp_path / "models"), complete, monkeypatch)[1][0].endswith(ANOTHER)
    detail, remedy = remedy_of(str(tmp_path / "models" / "new"), complete, monkeypatch)
    assert f"{tmp_path / 'models'} cannot be written" in detail
    assert remedy[0].endswith(ANOTHER)


def test_one_folder_for_two_variables_fails(complete, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(complete["nnUNet_raw"])
    environment = complete | {"nnUNet_results": str(tmp_path / "link")}
    check = checks(environment, monkeypatch, doctor.check_folders)["nnUNet_raw and nnUNet_results"]
    assert not check.passed
    assert complete["nnUNet_raw"] in check.detail
    assert check.remedy[0].endswith(ANOTHER)


LOWEST, END = (next(s.version for s in stated_range().specifier if s.operator == sign) for sign in (">=", "<"))


@pytest.mark.parametrize(
    ("installed", "passed"), [("2.0", False), (LOWEST, True), (f"{LOWEST}.1", True), (END, False), ("3.0", False)]
)
def test_version_of_nnunet(installed, passed, complete, monkeypatch, two_trainers):
    monkeypatch.setattr(doctor, "version", lambda name: installed)
    monkeypatch.setattr(doctor, "needed_version", stated_range)
    check = checks(complete, monkeypatch)["nnunetv2"]
    assert check.passed is passed
    assert passed or check.remedy == (f'pip install "nnunetv2<{END},>={LOWEST}"',)
    assert passed or f"<{END},>={LOWEST} is needed" in check.detail


def test_needed_version_is_the_one_of_the_installation():
    needed = needed_version()
    assert needed.name == "nnunetv2"
    assert LOWEST in needed.specifier


def test_package_that_is_on_the_path_only(complete, monkeypatch, two_trainers):
    monkeypatch.setattr(host_version, "requires", lambda name: version(f"no-{name}"))
    assert not checks(complete, monkeypatch)["nnunet_ext"].passed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            "class ModalityPairingTrainer:\n    pass\n",
            "does not find ModalityPairingTrainer: {module} has something else",
        ),
        (
            "import no_such_package\n",
            "does not find its trainers: {module} cannot be imported (ModuleNotFoundError: No",
        ),
        ("raise OSError('no GPU')\n", "does not find its trainers: {module} cannot be imported (OSError: no GPU)"),
        ("def (\n", "does not find its trainers: {module} cannot be imported (SyntaxError"),
    ],
)
def test_module_in_the_way_is_named_with_its_reason(complete, tmp_path, monkeypatch, two_trainers, content, reason):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text(content)
    environment = complete | {"nnUNet_extTrainer": os.pathsep.join([str(other), PLUGIN])}
    check = checks(environment, monkeypatch, doctor.check_search_path)["trainers"]
    assert not check.passed
    assert reason.format(module=other / "mine.py") in check.detail
    assert check.remedy[1].endswith(f"export nnUNet_extTrainer={os.pathsep.join([PLUGIN, str(other)])}")
    # and the remedy works
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([PLUGIN, str(other)]))
    assert {check.name: check for check in doctor.check_search_path(os.environ)}["trainers"].passed
