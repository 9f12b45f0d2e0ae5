"""``nnunet_ext plan``: what it writes, and that it writes nothing when something is wrong."""

import json

import pytest

from nnunet_ext.errors import UserError
from nnunet_ext.planning.command import write_method_plans
from nnunet_ext.planning.plans_file import parse_assignments, plans_with_settings
from nnunet_ext.testing import Case
from nnunet_ext.trainers import ModalityPairingTrainer


def new_plans(values, case=None, configurations=()):
    case = case or Case()
    return plans_with_settings(case.plans, "New", ModalityPairingTrainer, case.dataset_json, values, configurations)


def test_assignments_are_json_or_text():
    assignments = ["a=1", "b=0.5", "c=[1, 2]", "d=text", 'e=[["T1"]]', "f=true"]
    assert parse_assignments(assignments) == {"a": 1, "b": 0.5, "c": [1, 2], "d": "text", "e": [["T1"]], "f": True}


@pytest.mark.parametrize(("assignments", "message"), [(["a"], "key=value"), (["a=1", "a=2"], "'a' is given twice")])
def test_bad_assignments(assignments, message):
    with pytest.raises(UserError, match=message):
        parse_assignments(assignments)


def test_settings_go_into_the_block_and_changes_into_the_configuration():
    plans = new_plans({"num_epochs": 3, "batch_size": 1, "patch_size": [8, 8, 12], "base_num_features": 2})
    configuration = plans["configurations"]["3d"]
    assert plans["plans_name"] == "New"
    assert plans["nnunet_ext"] == {"num_epochs": 3}
    assert configuration["batch_size"] == 1
    assert configuration["patch_size"] == [8, 8, 12]
    assert configuration["architecture"]["arch_kwargs"]["features_per_stage"] == [2, 4, 8]


def test_plans_stay_usable_by_nnunets_own_trainers():
    architecture = new_plans({"base_num_features": 2})["configurations"]["3d"]["architecture"]
    assert architecture["network_class_name"].endswith("PlainConvUNet")
    assert "modality_groups" not in architecture["arch_kwargs"]


def test_preprocessed_data_is_reused():
    before, after = Case().plans, new_plans({"patch_size": [8, 8, 8]})
    assert after["configurations"]["3d"]["data_identifier"] == before["configurations"]["3d"]["data_identifier"]


def test_inheriting_configuration_gets_changes_from_its_parent():
    plans = new_plans({"batch_size": 7}, Case(cascade=True))
    assert plans["configurations"]["3d"]["batch_size"] == 7
    assert "batch_size" not in plans["configurations"]["3d_cascade_fullres"]


def test_changes_can_be_limited_to_a_configuration():
    plans = new_plans({"batch_size": 7}, Case(cascade=True), ["3d_cascade_fullres"])
    assert plans["configurations"]["3d"]["batch_size"] == 2
    assert plans["configurations"]["3d_cascade_fullres"]["batch_size"] == 7


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch_size": [9, 8, 8]}, r"patch_size \[9, 8, 8\] does not fit.*multiples of \[4, 4, 4\]"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"base_num_features": 1.5}, "base_num_features = 1.5"),
        ({"nothing": 1}, "unknown setting 'nothing'"),
        ({"modality_groups": [["T9"], ["T1"]]}, "'T9' does not exist"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(UserError, match=message):
        new_plans(values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    folder = tmp_path / "Dataset999_Case"
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_text(json.dumps(Case().plans))
    (folder / "dataset.json").write_text(json.dumps(Case().dataset_json))
    return folder


@pytest.mark.parametrize("dataset", ["999", "Dataset999_Case"])
def test_command_writes_a_file_beside_nnunets(folder, dataset):
    file = write_method_plans(dataset, "ModalityPairingTrainer", "Short", ["num_epochs=2"])
    assert file == folder / "Short.json"
    assert json.loads(file.read_text())["nnunet_ext"] == {"num_epochs": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("998", "ModalityPairingTrainer", "Short", []), "Dataset 998 was not found"),
        (("999", "NoTrainer", "Short", []), "No trainer 'NoTrainer'. Trainers: ModalityPairingTrainer"),
        (("999", "ModalityPairingTrainer", "nnUNetPlans", []), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "a__b", []), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "../x", []), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "Short", ["num_epochs=no"]), "num_epochs = 'no'"),
        (("999", "ModalityPairingTrainer", "Short", [], "OtherPlans"), "nnUNetv2_plan_and_preprocess -d 999"),
        (("999", "ModalityPairingTrainer", "Short", [], "nnUNetPlans", ["4d"]), "no configuration '4d'"),
    ],
)
def test_mistakes_write_nothing(folder, arguments, message):
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=message):
        write_method_plans(*arguments)
    assert sorted(folder.iterdir()) == before


def test_existing_plans_are_kept_unless_told_otherwise(folder):
    arguments = ("999", "ModalityPairingTrainer", "Short")
    file = write_method_plans(*arguments, ["num_epochs=2"])
    with pytest.raises(UserError, match="--overwrite"):
        write_method_plans(*arguments, ["num_epochs=3"])
    assert json.loads(file.read_text())["nnunet_ext"] == {"num_epochs": 2}
    write_method_plans(*arguments, ["num_epochs=3"], overwrite=True)
    assert json.loads(file.read_text())["nnunet_ext"] == {"num_epochs": 3}
