"""The command line as a user types it."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from nnunet_ext import cli, doctor
from nnunet_ext.files.atomic import atomic_folder
from nnunet_ext.trainers import TRAINERS


def run(capsys, *arguments):
    """Exit code, standard output and standard error of ``nnunet_ext arguments``."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["nnunet_ext", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
    return code, *capsys.readouterr()


def test_path_prints_nothing_but_the_search_path(capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    assert run(capsys, "path") == (0, f"{doctor.plugin_folder()}\n", "")


def test_list_names_every_trainer_with_its_paper(capsys):
    code, output, _ = run(capsys, "list")
    assert code == 0
    assert all(trainer.__name__ in output for trainer in TRAINERS)
    assert "Wang et al." in output


def test_doctor_exits_with_1_and_says_what_to_type(capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    code, output, _ = run(capsys, "doctor")
    assert code == 1
    assert "FAIL  nnUNet_extTrainer: not set" in output
    assert "nnUNet_extTrainer=" in output


def test_users_mistake_is_one_message_without_traceback(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    code, output, error = run(capsys, "plan", "-d", "999", "-tr", "NoTrainer", "-o", "New")
    assert (code, output) == (1, "")
    assert error.startswith("Error: No trainer 'NoTrainer'.")
    assert "Traceback" not in error


def test_file_that_may_not_be_read_is_one_message_without_traceback(capsys, monkeypatch):
    def refuse():
        raise PermissionError(errno.EACCES, "Permission denied", "secret.json")

    monkeypatch.setattr(cli, "app", refuse)
    assert run(capsys) == (1, "", "Error: secret.json: Permission denied\n")


def test_terminated_command_leaves_nothing_half_written(capsys, monkeypatch, tmp_path):
    def write():
        with atomic_folder(tmp_path / "folder"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    monkeypatch.setattr(cli, "app", write)
    assert run(capsys) == (143, "", "")
    assert list(tmp_path.iterdir()) == []


BRIDGE = "nnunet_ext.host.data, nnunet_ext.host.models, nnunet_ext.host.version"


@pytest.mark.parametrize("module", ["nnunet_ext.cli", "nnunet_ext.doctor", BRIDGE])
def test_commands_do_not_wait_for_pytorch(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "module",
    ["nnunet_ext", "nnunet_ext.cli", "nnunet_ext.doctor", "nnunet_ext.architectures", "nnunet_ext.losses", BRIDGE],
)
def test_importing_prints_nothing_and_does_not_import_nnunet(module):
    code = f"import sys, {module}; assert 'nnunetv2' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert run.stdout == ""
