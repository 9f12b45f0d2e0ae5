"""When a step is reused, and what running one leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_ext.demo.error import DemoError
from nnunet_ext.demo.step import Step, command, is_finished, last_line, run


def copying_step(folder, code="import shutil, sys; print('copying'); shutil.copyfile(*sys.argv[1:])"):
    """A step that copies in.txt to out.txt."""
    source, target = folder / "in.txt", folder / "out.txt"
    return Step("Copy", (sys.executable, "-c", code, str(source), str(target)), (source,), (target,))


@pytest.fixture
def finished(tmp_path):
    """A step that has run, and its log."""
    (tmp_path / "in.txt").write_text("text")
    step, log = copying_step(tmp_path), tmp_path / "logs" / "copy.txt"
    run(step, log, {})
    return step, log


def test_values_with_spaces_stay_one_word_of_the_command():
    assert command("tool -i {i} -f 0 1", i=Path("my data/x")) == ("tool", "-i", "my data/x", "-f", "0", "1")


def test_command_line_can_be_pasted_into_a_shell():
    assert Step("", ("tool", "my data/x"), (), ()).command_line == "tool 'my data/x'"


def test_step_is_finished_after_its_run(finished):
    assert is_finished(*finished)
    assert finished[0].outputs[0].read_text() == "text"
    assert finished[1].read_text().splitlines()[1] == "copying"


def test_step_without_log_is_not_finished(finished):
    step, log = finished
    log.unlink()
    assert not is_finished(step, log)


def test_step_without_an_output_is_not_finished(finished):
    step, log = finished
    step.outputs[0].unlink()
    assert not is_finished(step, log)


def test_step_with_an_input_newer_than_its_output_is_not_finished(finished):
    step, log = finished
    later = step.outputs[0].stat().st_mtime + 1
    os.utime(step.inputs[0], (later, later))
    assert not is_finished(step, log)


def test_step_with_another_command_line_is_not_finished(finished):
    step, log = finished
    other = Step(step.title, (*step.command, "--fast"), step.inputs, step.outputs)
    assert not is_finished(other, log)


def test_failed_run_names_command_and_log_and_is_not_finished(finished):
    step, log = finished
    failing = copying_step(step.inputs[0].parent, "print('no such data'); raise SystemExit(3)")
    with pytest.raises(DemoError) as error:
        run(failing, log, {})
    assert failing.command_line in str(error.value)
    assert "exit code 3" in str(error.value)
    assert str(log) in str(error.value)
    assert "no such data" in log.read_text()
    assert not is_finished(failing, log)
    assert not step.outputs[0].exists()  # the earlier run's result does not pass for this run's


def test_interrupted_run_is_not_finished(finished):
    step, log = finished
    slow = copying_step(step.inputs[0].parent, "import time, sys; open(sys.argv[2], 'w').close(); time.sleep(60)")

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(slow, log, {}, on_wait=interrupt)
    assert slow.outputs[0].exists()
    assert not is_finished(slow, log)


def test_interruption_ends_the_processes_the_command_started(tmp_path):
    child = "import time; time.sleep(60)"
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid); p.wait()"
    step, log = Step("", (sys.executable, "-u", "-c", parent), (), ()), tmp_path / "log.txt"

    def interrupt_once_started():
        if len(log.read_text().splitlines()) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(step, log, {}, on_wait=interrupt_once_started)
    child_id = int(log.read_text().splitlines()[1])
    for _ in range(50):
        if not is_running(child_id):
            return
        time.sleep(0.1)
    pytest.fail(f"process {child_id} is still running")


def is_running(process_id):
    """Whether the process exists and is more than a zombie."""
    status = Path(f"/proc/{process_id}/stat")
    if status.parents[1].is_dir():
        return status.exists() and status.read_text().rsplit(")")[-1].split()[0] != "Z"
    return subprocess.run(["kill", "-0", str(process_id)], check=False, capture_output=True).returncode == 0


def test_command_that_writes_nothing_is_an_error_though_its_exit_code_is_0(tmp_path):
    (tmp_path / "in.txt").write_text("text")
    step = copying_step(tmp_path, "pass")
    with pytest.raises(DemoError, match=r"ended without writing .*out\.txt"):
        run(step, tmp_path / "log.txt", {})


def test_missing_program_is_named(tmp_path):
    with pytest.raises(DemoError, match="no command nnUNetv2_juggle"):
        run(Step("", ("nnUNetv2_juggle",), (), ()), tmp_path / "log.txt", {})


def test_environment_reaches_the_command(tmp_path):
    step = Step("", (sys.executable, "-c", "import os; print(os.environ['nnUNet_raw'])"), (), ())
    run(step, tmp_path / "log.txt", {"nnUNet_raw": "/data/raw"})
    assert "/data/raw" in (tmp_path / "log.txt").read_text()


def test_last_line_skips_blank_ends_and_progress_bar_history(tmp_path):
    (tmp_path / "log.txt").write_text("first\n10%\r20%\r30%   \n\n")
    assert last_line(tmp_path / "log.txt") == "30%"
    (tmp_path / "log.txt").write_text("")
    assert last_line(tmp_path / "log.txt") == ""
