"""The demo's run over its steps, with small commands in nnU-Net's place."""

import sys

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from nnunet_ext.demo import __main__ as entry
from nnunet_ext.demo.error import DemoError
from nnunet_ext.demo.run import prepare_data, run_steps
from nnunet_ext.demo.step import Step


def chain(folder, failing=None):
    """Three steps, each appending its number to a copy of the file before."""
    code = "import sys; text = open(sys.argv[1]).read(); open(sys.argv[2], 'w').write(text + sys.argv[3])"
    (folder / "0").write_text("0")
    steps = []
    for number in range(1, 4):
        source, target = folder / str(number - 1), folder / str(number)
        words = (sys.executable, "-c", "raise SystemExit(1)" if number == failing else code)
        steps.append(Step(f"Step {number}", (*words, str(source), str(target), str(number)), (source,), (target,)))
    return steps


def run(steps, folder):
    """What is printed."""
    with (folder / "printed.txt").open("w") as stream:
        run_steps(steps, folder / "logs", {}, Console(file=stream, width=80))
    return (folder / "printed.txt").read_text()


def test_commands_run_in_order_and_each_is_printed_before(tmp_path):
    steps = chain(tmp_path)
    printed = run(steps, tmp_path)
    assert (tmp_path / "3").read_text() == "0123"
    for number, step in enumerate(steps, start=1):
        assert f"step {number} of 3: Step {number}\n$ {step.command_line}\n" in printed


def test_second_run_reuses_every_step(tmp_path):
    steps = chain(tmp_path)
    run(steps, tmp_path)
    times = [(tmp_path / str(number)).stat().st_mtime_ns for number in (1, 2, 3)]
    assert run(steps, tmp_path).count("(done before, reused)") == 3
    assert [(tmp_path / str(number)).stat().st_mtime_ns for number in (1, 2, 3)] == times


def test_steps_after_a_lost_result_run_again(tmp_path):
    steps = chain(tmp_path)
    run(steps, tmp_path)
    (tmp_path / "2").unlink()
    printed = run(steps, tmp_path)
    assert "Step 1 (done before, reused)" in printed
    assert printed.count("reused") == 1
    assert (tmp_path / "3").read_text() == "0123"


def test_failing_step_stops_the_demo(tmp_path):
    with pytest.raises(DemoError, match="exit code 1"):
        run(chain(tmp_path, failing=2), tmp_path)
    assert (tmp_path / "1").exists()
    assert not (tmp_path / "3").exists()


def test_failure_reaches_the_shell_as_exit_code_1_without_traceback(tmp_path, monkeypatch):
    def fail(*_):
        raise DemoError("This command ended with exit code 2: nnUNetv2_train. Its output is in log.txt")

    monkeypatch.setattr(entry, "run_demo", fail)
    app = typer.Typer()
    app.command()(entry.main)
    result = CliRunner().invoke(app, ["--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "nnUNetv2_train. Its output is in log.txt" in result.output
    assert "Traceback" not in result.output


def test_phantom_is_written_once(tmp_path):
    workspace = prepare_data(tmp_path, None)
    assert workspace.root == tmp_path / "Dataset999_Phantom"
    assert (len(workspace.cases("Tr")), len(workspace.cases("Ts"))) == (10, 2)
    before = workspace.raw.stat().st_mtime_ns
    assert prepare_data(tmp_path, None).raw.stat().st_mtime_ns == before


def test_another_phantom_under_the_same_name_raises(tmp_path):
    workspace = prepare_data(tmp_path, None)
    json_file = workspace.raw / "dataset.json"
    json_file.write_text(json_file.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(DemoError, match="is another phantom"):
        prepare_data(tmp_path, None)


def test_data_that_is_no_folder_raises(tmp_path):
    with pytest.raises(DemoError, match="is not a folder"):
        prepare_data(tmp_path, tmp_path / "nothing")
