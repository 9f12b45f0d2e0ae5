"""``nnunet_ext plan``: what it writes, and that it writes nothing when something is wrong."""

import json

import pytest

from nnunet_ext.errors import UserError
from nnunet_ext.planning.command import write_method_plans
from nnunet_ext.planning.plans_file import parse_assignments, plans_with_settings
from nnunet_ext.plans import settings
from nnunet_ext.plans.settings import given_settings
from nnunet_ext.testing import Case
from nnunet_ext.trainers import ModalityPairingTrainer
from nnunet_ext.version import __version__, commit


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
    assert given_settings(plans) == {"num_epochs": 3}
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
        ({"patch_size": [8]}, r"patch_size has 1 numbers and fits no configuration\. They have axes: 3d 3"),
        ({"patch_size": []}, "patch_size has 0 numbers"),
        ({"patch_size": [8, 8, 400_000_000]}, "patch_size.2 = 400000000"),
        ({"batch_size": 100_000_000}, "batch_size = 100000000: input should be less than or equal to 10000"),
        ({"base_num_features": 513}, "base_num_features = 513: input should be less than or equal to 512"),
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
    file, is_new = write_method_plans(dataset, "ModalityPairingTrainer", "Short", ["num_epochs=2"]).file
    assert (file, is_new) == (folder / "Short.json", True)
    assert given_settings(json.loads(file.read_text())) == {"num_epochs": 2}


def test_name_that_is_left_out_tells_settings_apart(folder):
    first, second, other = (
        write_method_plans("999", "ModalityPairingTrainer", None, [assignment]).file.path
        for assignment in ("num_epochs=2", "num_epochs=3", "pairing_weight=0")
    )
    assert len({first, second, other}) == 3
    assert first.name.startswith("nnUNetExtModalityPairingPlans_")
    assert given_settings(json.loads(first.read_text())) == {"num_epochs": 2}
    assert json.loads(first.read_text())["plans_name"] == first.stem


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("998", "ModalityPairingTrainer", "Short", []), "998 was not found.*nnUNetv2_plan_and_preprocess -d 998"),
        (("999", "NoTrainer", "Short", []), "No trainer 'NoTrainer'. Trainers: ModalityPairingTrainer"),
        (("999", "ModalityPairingTrainer", "nnUNetPlans", []), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "a__b", []), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "../x", []), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "dataset", [], "nnUNetPlans", [], True), "'dataset' cannot be the name"),
        (("999", "ModalityPairingTrainer", "splits_final", [], "nnUNetPlans", [], True), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "Dataset_Fingerprint", [], "nnUNetPlans", [], True), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "Notes", [], "nnUNetPlans", [], True), "holds no plans"),
        (("999", "ModalityPairingTrainer", "Short", [], "../Dataset999_Case/nnUNetPlans"), "cannot be the name"),
        (("999", "ModalityPairingTrainer", "Short", ["num_epochs=no"]), "num_epochs = 'no'"),
        (("999", "ModalityPairingTrainer", "Short", [], "nnUNetPlan"), "The data set has the plans nnUNetPlans"),
        (("999", "ModalityPairingTrainer", "Short", [], "nnUNetPlans", ["4d"]), "no configuration '4d'"),
    ],
)
def test_mistakes_write_nothing(folder, arguments, message):
    (folder / "Notes.json").write_text('{"mine": 1}')
    before = {file: file.read_text() for file in folder.iterdir()}
    with pytest.raises(UserError, match=message):
        write_method_plans(*arguments)
    assert {file: file.read_text() for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["nnUNetPlans", "dataset"])
def test_cut_off_files_are_named(folder, name):
    file = folder / f"{name}.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(UserError, match=rf"{name}\.json is no JSON, perhaps it was cut off"):
        write_method_plans("999", "ModalityPairingTrainer", "Short", [])


def test_other_content_is_refused_unless_told_otherwise(folder):
    arguments = ("999", "ModalityPairingTrainer", "Short")
    file, _ = write_method_plans(*arguments, ["num_epochs=2", "batch_size=4"]).file
    with pytest.raises(
        UserError,
        match=r"something else: configurations\.3d\.batch_size \(4 there, 2 here\), "
        r"nnunet_ext\.num_epochs \(2 there, 3 here\)\..*--overwrite",
    ):
        write_method_plans(*arguments, ["num_epochs=3"])
    assert given_settings(json.loads(file.read_text())) == {"num_epochs": 2}
    assert write_method_plans(*arguments, ["num_epochs=3"], overwrite=True).file == (file, True)
    assert given_settings(json.loads(file.read_text())) == {"num_epochs": 3}


def test_same_content_is_left_as_it_is(folder):
    arguments = ("999", "ModalityPairingTrainer", "Short")
    file, _ = write_method_plans(*arguments, ["num_epochs=2", "pairing_weight=0"]).file
    file.write_text(json.dumps(json.loads(file.read_text())))  # laid out otherwise
    text = file.read_text()
    assert write_method_plans(*arguments, ["pairing_weight=0", "num_epochs=2"]).file == (file, False)
    assert write_method_plans(*arguments, ["num_epochs=2", "pairing_weight=0"], overwrite=True).file == (file, False)
    assert file.read_text() == text


def test_cut_off_plans_can_be_replaced(folder):
    (folder / "Short.json").write_text('{"plans_name": "Sh')
    arguments = ("999", "ModalityPairingTrainer", "Short", ["num_epochs=2"])
    with pytest.raises(UserError, match="cut off"):
        write_method_plans(*arguments)
    assert write_method_plans(*arguments, overwrite=True).file.is_new


def test_plans_say_who_wrote_them_and_another_commit_makes_them_no_others(folder, monkeypatch):
    arguments = ("999", "ModalityPairingTrainer", "Short", ["num_epochs=2"])
    file = write_method_plans(*arguments).file.path
    plans = json.loads(file.read_text())
    assert plans["nnunet_ext"]["written_by"] == {"version": __version__, "commit": commit()}
    monkeypatch.setattr(settings, "commit", lambda: "another")
    assert write_method_plans(*arguments).file == (file, False)
    again = plans_with_settings(plans, "New", ModalityPairingTrainer, Case().dataset_json, {})
    assert again["nnunet_ext"] == {"num_epochs": 2, "written_by": {"version": __version__, "commit": "another"}}
