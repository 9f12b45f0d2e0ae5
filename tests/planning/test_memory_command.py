"""``nnunet_ext plan --gpu-memory`` and ``--paper``: the file, the table, the messages."""

import json
import sys

import pytest
from planned_dataset import write_planned_dataset

from nnunet_ext import cli
from nnunet_ext.errors import UserError
from nnunet_ext.planning.memory_command import write_memory_plans

TRAINER = "ModalityPairingTrainer"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return write_planned_dataset(tmp_path, monkeypatch, shape=(24, 28, 24))


def plan(*arguments, assignments=("base_num_features=4",), **options):
    return write_memory_plans("999", TRAINER, *(arguments or (None,)), list(assignments), **options)


def test_file_has_the_methods_name_and_the_rows_stand_next_to_the_plain_network(folder):
    planned = plan(gpu_memory=0.03)
    assert planned.file == folder / "nnUNetExtModalityPairingPlans.json"
    plans = json.loads(planned.file.read_text())
    assert plans["plans_name"] == "nnUNetExtModalityPairingPlans"
    own, plain = (row for row in planned.rows if row.configuration == "3d_fullres")
    assert (own.network, own.patch_size, own.batch_size) == (TRAINER, plain.patch_size, plain.batch_size)
    assert own.cost.memory > plain.cost.memory
    assert own.cost.operations > plain.cost.operations > 0
    assert planned.warnings == []


def test_data_of_earlier_plans_is_shared(folder):
    first = plan("First", gpu_memory=0.03)
    (folder / "First_3d_fullres").mkdir()
    second = plan("Second", gpu_memory=0.02)
    assert {source.plans for source in first.data} == {"First"}
    shared = {source.configuration: source for source in second.data}
    assert shared["3d_fullres"].preprocessed
    plans = json.loads(second.file.read_text())
    assert plans["configurations"]["3d_fullres"]["data_identifier"] == "First_3d_fullres"


def test_paper_warns_when_the_target_does_not_hold_it(folder):
    planned = plan(paper=True, gpu_memory=0.05)
    assert planned.file.name == "nnUNetExtModalityPairingPaperPlans.json"
    (warning,) = planned.warnings
    assert warning.startswith("3d_fullres: patch (128, 128, 128), batch 2 needs")
    assert plan(paper=True, gpu_memory=24, overwrite=True).warnings == []


def test_given_sizes_replace_planned_ones(folder):
    planned = plan("Given", assignments=("base_num_features=4", "batch_size=3", "num_epochs=5"), gpu_memory=0.03)
    plans = json.loads(planned.file.read_text())
    assert {row.batch_size for row in planned.rows} == {3}
    assert plans["nnunet_ext"] == {"num_epochs": 5}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("nnUNetPlans",), {}, "cannot be the name"),
        ((), {"assignments": ["nothing=1"]}, "unknown setting 'nothing'"),
        ((), {"assignments": ["base_num_features=wide"]}, "base_num_features"),
        ((), {"gpu_memory": 1e-4}, "No patch fits"),
    ],
)
def test_mistakes_write_nothing(folder, arguments, options, message):
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=message):
        plan(*arguments, **options)
    assert sorted(folder.iterdir()) == before


def test_existing_plans_are_kept(folder):
    (folder / "nnUNetExtModalityPairingPlans.json").write_text("{}")
    with pytest.raises(UserError, match="--overwrite"):
        plan()


@pytest.mark.parametrize(("missing", "message"), [("dataset_fingerprint.json", "fingerprint"), (None, "nnUNet_raw")])
def test_what_planning_needs_is_asked_for(folder, monkeypatch, missing, message):
    if missing:
        (folder / missing).unlink()
    else:
        monkeypatch.setenv("nnUNet_raw", str(folder))
    with pytest.raises(UserError, match=message):
        plan()


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["nnunet_ext", "plan", "-d", "999", "-tr", TRAINER, *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0, *capsys.readouterr()


def test_command_line(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, output, error = run(capsys, monkeypatch, "--gpu-memory", "0.03", "base_num_features=4")
    assert (code, error) == (0, "")
    for text in ("parameters", "of target", "arithmetic", "plain U-Net, same size", "without a GPU"):
        assert text in output
    assert "3d_fullres: preprocess first: nnUNetv2_preprocess -d 999 -plans_name nnUNetExtModalityPairing" in output
    assert f"nnUNetv2_train 999 CONFIGURATION FOLD -tr {TRAINER} -p nnUNetExtModalityPairingPlans" in output


@pytest.mark.parametrize(
    ("arguments", "message"), [((), "-o names the new plans"), (("--gpu-memory", "8", "-p", "X"), "plan anew")]
)
def test_options_that_do_not_go_together(folder, capsys, monkeypatch, arguments, message):
    code, _, error = run(capsys, monkeypatch, *arguments)
    assert code == 1
    assert message in error
