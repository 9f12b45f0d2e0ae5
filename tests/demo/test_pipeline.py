"""The demo's plan of commands, without running them."""

import pytest

from nnunet_ext.demo.pipeline import demo_steps, systems
from nnunet_ext.demo.workspace import Workspace


def test_commands_are_nnunets_own_in_the_order_a_user_types_them(workspace):
    programs = [step.command[0] for step in demo_steps(workspace)]
    assert programs == [
        "nnUNetv2_plan_and_preprocess",
        "nnunet_ext",
        *["nnUNetv2_train"] * 3,
        *["nnUNetv2_predict"] * 2,
        "nnUNetv2_ensemble",
        "nnUNetv2_accumulate_crossval_results",
        "nnUNetv2_determine_postprocessing",
        "nnUNetv2_apply_postprocessing",
        *["nnUNetv2_evaluate_folder"] * 4,
    ]


def test_every_input_is_raw_data_or_written_by_an_earlier_step(workspace):
    available = {path for path in workspace.raw.rglob("*") if path.is_file()}
    for step in demo_steps(workspace):
        assert step.inputs
        assert set(step.inputs) <= available, step.title
        assert step.outputs
        assert not set(step.outputs) & available, step.title
        available |= set(step.outputs)


def test_every_result_is_used_or_scored(workspace):
    steps = demo_steps(workspace)
    read = {path for step in steps for path in step.inputs}
    unused = [step.title for step in steps if not set(step.outputs) & read]
    assert unused == [f"Score {name}" for name in systems(workspace)]


def test_test_cases_reach_only_prediction_and_scoring(workspace):
    for step in demo_steps(workspace):
        uses = {path.parent.name for path in step.inputs}
        assert ("imagesTs" in uses) == (step.command[0] == "nnUNetv2_predict")
        assert ("labelsTs" in uses) == (step.command[0] == "nnUNetv2_evaluate_folder")


def test_two_folds_of_modality_pairing_and_one_of_plain_nnunet_are_trained(workspace):
    lines = [step.command_line for step in demo_steps(workspace) if step.command[0] == "nnUNetv2_train"]
    assert lines == [
        "nnUNetv2_train 42 3d_fullres 0 -tr ModalityPairingTrainer -p nnUNetPlansDemo -device cpu --npz",
        "nnUNetv2_train 42 3d_fullres 1 -tr ModalityPairingTrainer -p nnUNetPlansDemo -device cpu --npz",
        "nnUNetv2_train 42 3d_fullres 0 -tr nnUNetTrainer_1epoch -p nnUNetPlansDemo -device cpu --npz",
    ]


def test_prediction_uses_the_trained_folds(workspace):
    pairing, plain = (step.command for step in demo_steps(workspace) if step.command[0] == "nnUNetv2_predict")
    assert pairing[pairing.index("-f") + 1 : pairing.index("-tr") + 2] == ("0", "1", "-tr", "ModalityPairingTrainer")
    assert plain[plain.index("-f") + 1 : plain.index("-tr") + 2] == ("0", "-tr", "nnUNetTrainer_1epoch")


@pytest.mark.parametrize("option", ["-device cuda", "-c 2d"])
def test_device_and_configuration_reach_the_commands(workspace, option):
    lines = [step.command_line for step in demo_steps(Workspace(workspace.root, "2d"), "cuda")]
    assert sum(option in line for line in lines) >= 2
    assert not any("3d_fullres" in line or "cpu" in line for line in lines)


def test_environment_sets_nnunets_four_variables_to_absolute_paths_in_the_demo(workspace, monkeypatch):
    monkeypatch.chdir(workspace.root.parent)
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    environment = Workspace(type(workspace.root)(workspace.root.name)).environment()
    assert environment["nnUNet_raw"] == str(workspace.raw.parent)
    assert environment["nnUNet_preprocessed"] == str(workspace.preprocessed.parent)
    assert environment["nnUNet_results"] == str(workspace.root / "nnUNet_results")
    assert environment["nnUNet_extTrainer"].endswith("nnunet_ext/plugin")


def test_numbers_of_processes_set_by_the_user_are_kept(workspace, monkeypatch):
    monkeypatch.setenv("nnUNet_def_n_proc", "7")
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    environment = workspace.environment()
    assert (environment["nnUNet_def_n_proc"], environment["nnUNet_n_proc_DA"]) == ("7", "1")
