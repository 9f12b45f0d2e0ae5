"""The demo's plan of commands, without running them."""

import pytest

from nnunet_ext.demo.pipeline import METHODS, SETTINGS, demo_steps, systems
from nnunet_ext.demo.run import pictures
from nnunet_ext.demo.workspace import Workspace
from nnunet_ext.plans.settings import read_settings
from nnunet_ext.trainers import TRAINERS


def test_commands_are_nnunets_own_in_the_order_a_user_types_them(workspace):
    programs = [step.command[0] for step in demo_steps(workspace)]
    assert programs == [
        "nnUNetv2_plan_and_preprocess",
        *["nnunet_ext"] * 3,
        *["nnUNetv2_train"] * 4,
        *["nnUNetv2_predict"] * 4,
        "nnUNetv2_ensemble",
        "nnUNetv2_determine_postprocessing",
        "nnUNetv2_apply_postprocessing",
        *["nnUNetv2_evaluate_folder"] * 6,
        *["nnunet_ext"] * 2,
    ]


def test_every_input_is_raw_data_or_written_by_an_earlier_step(workspace):
    available = {path for path in workspace.raw.rglob("*") if path.is_file()}
    for step in demo_steps(workspace):
        assert step.inputs
        assert set(step.inputs) <= available, step.title
        assert step.outputs
        assert not set(step.outputs) & available, step.title
        available |= set(step.outputs)


def test_every_result_is_used_scored_or_shown(workspace):
    steps = demo_steps(workspace)
    read = {path for step in steps for path in step.inputs}
    unused = [step.title for step in steps if not set(step.outputs) & read]
    shown = ["Draw what attention fusion looks at", "Write a report about all models"]
    assert unused == [*(f"Score {name}" for name in systems(workspace)), *shown]
    assert {picture.file for picture in pictures(workspace)} <= {path for step in steps for path in step.outputs} | {
        workspace.picture
    }


def test_test_cases_reach_only_prediction_scoring_and_the_attention_maps(workspace):
    for step in demo_steps(workspace):
        uses = {path.parent.name for path in step.inputs}
        shown = "attention" in step.command
        assert ("imagesTs" in uses) == (shown or step.command[0] == "nnUNetv2_predict")
        assert ("labelsTs" in uses) == (shown or step.command[0] == "nnUNetv2_evaluate_folder")


def test_plain_nnunet_and_three_methods_are_trained_with_as_many_steps(workspace):
    lines = [step.command_line for step in demo_steps(workspace) if step.command[0] == "nnUNetv2_train"]
    assert lines == [
        "nnUNetv2_train 42 3d_fullres 0 -tr nnUNetTrainer_1epoch -p nnUNetPlansDemo -device cpu --npz",
        "nnUNetv2_train 42 3d_fullres 0 -tr ModalityPairingTrainer -p nnUNetPlansDemo -device cpu --npz",
        "nnUNetv2_train 42 3d_fullres 0 -tr AutoencoderRegularizedTrainer -p nnUNetPlansDemoAutoencoder -device cpu "
        "--npz",
        "nnUNetv2_train 42 3d_fullres 0 -tr AttentionFusionTrainer -p nnUNetPlansDemoAttention -device cpu --npz",
    ]
    assert SETTINGS["num_epochs"] * SETTINGS["num_iterations_per_epoch"] == 250  # an epoch of nnU-Net's


def test_methods_have_settings_that_their_trainers_know():
    trainers = {trainer.__name__: trainer for trainer in TRAINERS}
    for method in METHODS:
        values = {key: value for key, value in {**SETTINGS, **method.settings}.items() if key != "base_num_features"}
        read_settings(trainers[method.trainer].settings_class, values)


def test_every_model_predicts_with_its_own_plans_and_is_in_the_ensemble(workspace):
    steps = demo_steps(workspace)
    predictions = [step.command for step in steps if step.command[0] == "nnUNetv2_predict"]
    options = [command[command.index("-tr") + 1 : command.index("-tr") + 4] for command in predictions]
    assert options == [
        ("nnUNetTrainer_1epoch", "-p", "nnUNetPlansDemo"),
        *((method.trainer, "-p", method.plans) for method in METHODS),
    ]
    (ensemble,) = (step.command for step in steps if step.command[0] == "nnUNetv2_ensemble")
    outputs = tuple(command[command.index("-o") + 1] for command in predictions)
    assert ensemble[ensemble.index("-i") + 1 : ensemble.index("-o")] == outputs


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
