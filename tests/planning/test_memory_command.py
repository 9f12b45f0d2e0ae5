"""``nnunet_ext plan --gpu-memory`` and ``--paper``: the file, the table, the messages."""

import json
import sys

import pytest
from planned_dataset import write_planned_dataset

from nnunet_ext import cli
from nnunet_ext.errors import UserError
from nnunet_ext.planning import memory_command
from nnunet_ext.planning.memory_command import write_memory_plans
from nnunet_ext.planning.memory_table import PlannedStep
from nnunet_ext.planning.plans_name import plans_name
from nnunet_ext.planning.training_step import StepCost
from nnunet_ext.plans.settings import given_settings
from nnunet_ext.testing import Case

TRAINER = "ModalityPairingTrainer"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return write_planned_dataset(tmp_path, monkeypatch, shape=(24, 28, 24))


def plan(*arguments, assignments=("base_num_features=4",), **options):
    return write_memory_plans("999", TRAINER, *(arguments or (None,)), list(assignments), **options)


def test_file_has_the_methods_name_and_the_rows_stand_next_to_the_plain_network(folder):
    planned = plan(gpu_memory=0.03)
    name = plans_name(TRAINER, {"base_num_features": 4}, gpu_memory=0.03)
    assert planned.file == (folder / f"{name}.json", True)
    assert name.startswith("nnUNetExtModalityPairingPlans_0-03G_")
    plans = json.loads(planned.file.path.read_text())
    assert plans["plans_name"] == name
    own, plain = (row for row in planned.rows if row.configuration == "3d_fullres")
    assert (own.trainer, own.patch_size, own.batch_size) == (TRAINER, plain.patch_size, plain.batch_size)
    assert (own.network, plain.network) == ("ModalityPairingUNet", "PlainConvUNet")
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
    plans = json.loads(second.file.path.read_text())
    assert plans["configurations"]["3d_fullres"]["data_identifier"] == "First_3d_fullres"


def test_paper_warns_when_the_target_does_not_hold_it(folder):
    planned = plan(paper=True, gpu_memory=0.05)
    assert planned.file.path.name.startswith("nnUNetExtModalityPairingPaperPlans_0-05G_")
    (warning,) = planned.warnings
    assert warning.startswith("3d_fullres: patch (128, 128, 128), batch 2 needs")
    assert plan(paper=True, gpu_memory=24).warnings == []


def test_given_sizes_replace_planned_ones(folder):
    planned = plan("Given", assignments=("base_num_features=4", "batch_size=3", "num_epochs=5"), gpu_memory=0.03)
    plans = json.loads(planned.file.path.read_text())
    assert {row.batch_size for row in planned.rows} == {3}
    assert given_settings(plans) == {"num_epochs": 5}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("nnUNetPlans",), {}, "cannot be the name"),
        ((), {"assignments": ["nothing=1"]}, "unknown setting 'nothing'"),
        ((), {"assignments": ["base_num_features=wide"]}, "base_num_features"),
        ((), {"gpu_memory": 1e-4}, "No patch fits"),
        ((), {"gpu_memory": 0.0}, "--gpu-memory 0: give the memory in GB"),
        ((), {"gpu_memory": float("nan")}, "--gpu-memory nan"),
        (("splits_final",), {"overwrite": True}, "cannot be the name"),
    ],
)
def test_mistakes_write_nothing(folder, arguments, options, message):
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=message):
        plan(*arguments, **options)
    assert sorted(folder.iterdir()) == before


@pytest.fixture
def planned_at_once(monkeypatch):
    """nnU-Net's search replaced by one whose batch is that of the memory target."""

    class Planner:
        def __init__(self, dataset, trainer, plans_name, settings, gpu_memory, base_num_features, residual, begin):
            self.dataset_json, self.batch_size = Case().dataset_json, int(gpu_memory)

        def plan_experiment(self):
            plans = Case().plans
            plans["configurations"]["3d"]["batch_size"] = self.batch_size
            return plans

    monkeypatch.setattr(memory_command, "MethodPlanner", Planner)
    row = PlannedStep("3d", TRAINER, "Net", "Plans", (8, 8, 8), 2, StepCost(1, 1, 1, 1))
    monkeypatch.setattr(memory_command, "planned_steps", lambda *arguments: [row])


def test_planning_again_keeps_the_file(folder, planned_at_once):
    path, is_new = plan(gpu_memory=24).file
    assert is_new
    before = path.read_text()
    assert plan(gpu_memory=24).file == (path, False)
    assert plan(gpu_memory=12).file.path != path
    assert path.read_text() == before


def test_planned_sizes_are_not_replaced_unless_told(folder, planned_at_once):
    path, _ = plan("Mine", gpu_memory=24).file
    before = path.read_text()
    with pytest.raises(UserError, match=r"something else: .*batch_size \(24 there, 12 here\).*--overwrite"):
        plan("Mine", gpu_memory=12)
    assert path.read_text() == before
    assert plan("Mine", gpu_memory=12, overwrite=True).file == (path, True)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("dataset_fingerprint.json", "fingerprint.*nnUNetv2_extract_fingerprint -d 999"), (None, "nnUNet_raw")],
)
def test_what_planning_needs_is_asked_for(folder, monkeypatch, missing, message):
    if missing:
        (folder / missing).unlink()
    else:
        monkeypatch.setenv("nnUNet_raw", str(folder))
    with pytest.raises(UserError, match=message):
        plan()


@pytest.mark.parametrize("name", ["dataset_fingerprint", "dataset"])
def test_cut_off_files_are_named(folder, name, monkeypatch):
    (folder / "nnUNetPlans.json").write_text('{"plans_name": "nnUNetPlans", "configurations": {}}')
    file = (folder if name != "dataset" else folder.parents[1] / "raw" / folder.name) / f"{name}.json"
    file.write_text(file.read_text()[:20])
    with pytest.raises(UserError, match=rf"{name}\.json is no JSON"):
        plan()


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["nnunet_ext", "plan", "-d", "999", "-tr", TRAINER, *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0, *capsys.readouterr()


def test_command_line(folder, capsys, monkeypatch):
    code, output, error = run(capsys, monkeypatch, "--gpu-memory", "0.03", "base_num_features=4")
    assert (code, error) == (0, "")
    assert {"[GB]", "target", "[Gop]", "U-Net", "Wrote"} <= set(output.split())
    assert "Modality groups: [['FLAIR', 'T2'], ['T1ce', 'T1']]" in output
    assert "3d_fullres: preprocess first: nnUNetv2_preprocess -d 999 -plans_name nnUNetExtModalityPairing" in output
    assert f"nnUNetv2_train 999 CONFIGURATION FOLD -tr {TRAINER} -p nnUNetExtModalityPairingPlans_0-03G_" in output


def test_commands_to_type_have_the_number_that_nnunet_asks_for(folder, capsys, monkeypatch, planned_at_once):
    monkeypatch.setattr(sys, "argv", ["nnunet_ext", "plan", "-d", folder.name, "-tr", TRAINER, "--gpu-memory", "24"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "preprocess first: nnUNetv2_preprocess -d 999 -plans_name" in capsys.readouterr().out


def test_plans_of_a_residual_preset_have_its_network_planned_anew(folder, capsys, monkeypatch):
    residual = Case(residual=True).plans | {"plans_name": "nnUNetResEncUNetMPlans"}
    (folder / "nnUNetResEncUNetMPlans.json").write_text(json.dumps(residual))
    arguments = ["--gpu-memory", "0.03", "-p", "nnUNetResEncUNetMPlans", "-o", "Planned", "base_num_features=4"]
    code, output, error = run(capsys, monkeypatch, *arguments)
    assert (code, error) == (0, "")
    assert "ResEnc U-Net" in output
    for configuration in json.loads((folder / "Planned.json").read_text())["configurations"].values():
        architecture = configuration["architecture"]
        assert architecture["network_class_name"].endswith(".ResidualEncoderUNet")
        stages = architecture["arch_kwargs"]["n_stages"]
        assert architecture["arch_kwargs"]["n_blocks_per_stage"] == [1, 3, 4, 6, 6, 6][:stages]
        assert architecture["arch_kwargs"]["n_conv_per_stage_decoder"] == [1] * (stages - 1)
        assert "n_conv_per_stage" not in architecture["arch_kwargs"]


def test_plans_whose_network_cannot_be_planned_anew_are_refused(folder, capsys, monkeypatch):
    code, _, error = run(capsys, monkeypatch, "--gpu-memory", "8", "-p", "X")
    assert code == 1
    assert "X.json does not exist" in error
    other = Case().plans
    other["configurations"]["3d"]["architecture"]["network_class_name"] = "some.Network"
    (folder / "X.json").write_text(json.dumps(other))
    code, _, error = run(capsys, monkeypatch, "--gpu-memory", "8", "-p", "X")
    assert code == 1
    assert "some.Network; only nnU-Net's own networks are planned anew" in error
