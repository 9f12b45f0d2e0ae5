"""What would make a job of the workflow fail is told before anything is written."""

import json
from pathlib import Path

import pytest

from nnunet_ext.errors import UserError
from nnunet_ext.planning.plans_name import plans_name
from nnunet_ext.testing import Case
from nnunet_ext.workflow.choices import (
    DATASET_NAME,
    PLAIN,
    PLAIN_SETTING,
    PLANNER_NAME,
    WorkflowChoices,
    check_choices,
)
from nnunet_ext.workflow.write import SHIPPED, write_workflow

NAME = "Dataset137_BraTS"
PAIRING, FUSION = "ModalityPairingTrainer", "AttentionFusionTrainer"


@pytest.fixture
def folders(tmp_path):
    """nnU-Net's folders with a data set that is planned and preprocessed in configuration 3d alone."""
    folders = {name: tmp_path / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (folders[name] / NAME).mkdir(parents=True)
        (folders[name] / NAME / "dataset.json").write_text(json.dumps(Case().dataset_json))
    (folders["nnUNet_preprocessed"] / NAME / "nnUNetPlans_3d").mkdir()
    plans = Case().plans
    del plans["nnunet_ext"]
    (folders["nnUNet_preprocessed"] / NAME / "nnUNetPlans.json").write_text(json.dumps(plans))
    return folders


def choices(**changes):
    return WorkflowChoices(**{"dataset": "137", "trainers": [PAIRING], **changes})


def test_what_follows_from_the_choices(folders):
    checked = check_choices(choices(trainers=[PAIRING, "nnUNetTrainer"], assignments=["num_epochs=5"]), folders)
    assert checked.dataset == NAME
    assert [(plans.trainer, plans.name) for plans in checked.method_plans] == [
        (PAIRING, plans_name(PAIRING, {"num_epochs": 5}))
    ]
    assert (checked.images, checked.reference) == (None, None)
    assert check_choices(choices(), folders).method_plans == ()


def test_settings_of_one_trainer_replace_those_of_all(folders):
    assignments = ["num_epochs=5", f"{PAIRING}:num_epochs=7", f"{PAIRING}:warmup_epochs=1"]
    checked = check_choices(choices(trainers=[PAIRING, FUSION], assignments=assignments), folders)
    assert {plans.trainer: plans.arguments for plans in checked.method_plans} == {
        PAIRING: ("num_epochs=7", "warmup_epochs=1"),
        FUSION: ("num_epochs=5",),
    }


def test_study_trains_plain_nnunet_and_every_trainer_with_every_seed(folders):
    chosen = choices(
        study=True, seeds=[4, 9], assignments=["num_epochs=5", f"{PAIRING}:warmup_epochs=1", "modality_dropout=0.5"]
    )
    checked = check_choices(chosen, folders)
    shared = ("num_epochs=5", "modality_dropout=0.5", "warmup_epochs=1")
    assert [(plans.trainer, plans.arguments) for plans in checked.method_plans] == [
        (PLAIN, ("num_epochs=5", PLAIN_SETTING, "seed=4")),
        (PLAIN, ("num_epochs=5", PLAIN_SETTING, "seed=9")),
        (PAIRING, (*shared, "seed=4")),
        (PAIRING, (*shared, "seed=9")),
    ]
    assert len({plans.name for plans in checked.method_plans}) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainers": [PAIRING, "nnUNetTrainer"]}, "nnUNetTrainer: a study sets steps"),
        ({"seeds": [1, 1]}, "every seed once"),
        ({"seeds": []}, "every seed once"),
        ({"assignments": ["seed=3"]}, "Choose seeds with --seed"),
        ({"assignments": [f"{PAIRING}:seed=3"]}, "Choose seeds with --seed"),
        ({"configurations": ["2d", "3d_fullres"]}, "one configuration"),
        ({"images": Path("images")}, "leave out --images"),
    ],
)
def test_study_that_cannot_be_is_refused(folders, changes, message):
    with pytest.raises(UserError, match=message):
        check_choices(choices(**{"study": True, "seeds": [0], **changes}), folders)


@pytest.fixture
def timed(tmp_path):
    """Results of a study in which plain nnU-Net took 1 s a step, and others more, on the data set's own plans."""
    size = {"configuration": "3d", "patch_size": [16, 16, 16], "batch_size": 2, "features_of_first_stage": 4}
    size["spacing"] = [1.0, 1.0, 1.0]
    rows = [
        {
            "name": name,
            "dataset": NAME,
            "plans": size,
            "settings_unlike_paper": {},
            "cost": {"seconds_per_step": seconds},
        }
        for name, seconds in (("plain nnU-Net", 1.0), (PAIRING, 2.5), (PLAIN, 1.25))
    ]
    file = tmp_path / "results.yaml"
    file.write_text(json.dumps({"rows": rows}))  # JSON is YAML
    return {"study": True, "seeds": [4, 9], "equal_time": file, "run_planning": False, "configurations": ["3d"]}


def test_study_at_equal_time_gives_slower_trainers_fewer_epochs(folders, timed):
    chosen = choices(trainers=[PAIRING, PLAIN], assignments=["num_epochs=5", f"{PLAIN}:modality_dropout=0.5"], **timed)
    checked = check_choices(chosen, folders)
    assert [(plans.trainer, plans.arguments) for plans in checked.method_plans] == [
        (PLAIN, ("num_epochs=5", PLAIN_SETTING, "seed=4")),
        (PLAIN, ("num_epochs=5", PLAIN_SETTING, "seed=9")),
        (PAIRING, ("num_epochs=2", "seed=4")),  # 5 * 1 / 2.5
        (PAIRING, ("num_epochs=2", "seed=9")),
        (PLAIN, ("num_epochs=4", "modality_dropout=0.5", "seed=4")),  # 5 * 1 / 1.25
        (PLAIN, ("num_epochs=4", "modality_dropout=0.5", "seed=9")),
    ]
    by_default = check_choices(choices(**timed), folders).method_plans
    assert [plans.arguments for plans in by_default[::2]] == [  # of nnU-Net's 1000 epochs
        (PLAIN_SETTING, "seed=4"),
        ("num_epochs=400", "seed=4"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": False, "seeds": []}, "--equal-time belongs to --study"),
        ({"run_planning": True, "configurations": ["3d_fullres"]}, "add --preprocessed"),
        ({"assignments": [f"{PAIRING}:num_epochs=5"]}, f"{PAIRING}:num_epochs: with --equal-time"),
        ({"assignments": [f"{PLAIN}:num_epochs=5"]}, f"{PLAIN}:num_epochs: with --equal-time"),
        ({"assignments": [f"{PAIRING}:num_iterations_per_epoch=5"]}, "epochs of one length"),
        ({"assignments": [f"{PAIRING}:num_val_iterations_per_epoch=5"]}, "epochs of one length"),
        ({"assignments": ["num_iterations_per_epoch=5"]}, "num_iterations_per_epoch 250, and 5 here"),
        ({"assignments": [f"{PAIRING}:batch_size=3"]}, f"{PAIRING}: timed with batch_size 2, and 3 here"),
        ({"assignments": ["base_num_features=8"]}, "timed with features_of_first_stage 4, and 8 here"),
        ({"trainers": [FUSION]}, f"0 rows of {FUSION}"),
    ],
)
def test_study_at_equal_time_that_cannot_be_is_refused(folders, timed, changes, message):
    with pytest.raises(UserError, match=message):
        check_choices(choices(**{**timed, **changes}), folders)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "138"}, "138 was not found"),
        ({"dataset": "BraTS"}, "whole name of its folder: Dataset137_BraTS"),
        ({"dataset": "../nnUNet_raw/Dataset137_BraTS"}, "no data set"),
        ({"trainers": ["ModalityPairingTrainr"]}, "ModalityPairingTrainr"),
        ({"trainers": ["nnUNetTrainer", "nnUNetTrainer"]}, "once"),
        ({"configurations": ["3dfullres"]}, "no configuration '3dfullres'.*3d_lowres, 3d_fullres"),
        ({"configurations": ["2d", "2d"]}, "every configuration once"),
        ({"configurations": ["3d_cascade_fullres"]}, "needs 3d_lowres"),
        ({"configurations": ["3d_fullres"], "run_planning": False}, "'3d_fullres'. Plans nnUNetPlans have 3d"),
        ({"folds": [0, 0]}, "every fold once"),
        ({"folds": [-1]}, "counted from 0"),
        ({"assignments": ["num_epoch=5"]}, "unknown setting 'num_epoch'.*num_epochs"),
        ({"assignments": ["num_epochs"]}, "key=value"),
        ({"assignments": [f"{PAIRING}:num_epochs"]}, "key=value"),
        ({"assignments": ["num_epochs=5", "num_epochs=6"]}, "given twice"),
        ({"assignments": ["AttentionFusionTrainer:num_epochs=5"]}, "not among this package's"),
        ({"seeds": [1]}, "--seed belongs to --study"),
        ({"assignments": ["batch_size=0"]}, "batch_size = 0"),
        ({"assignments": ["patch_size=[32]"]}, "patch_size has 1 numbers.*3d_fullres 3"),
        ({"assignments": ["patch_size=[32,32]"]}, "patch_size has 2 numbers.*3d_fullres 3"),
        ({"assignments": ['modality_groups=[["PD"],["T1"]]']}, "'PD' does not exist"),
        ({"assignments": ["num_epochs=5"], "trainers": ["nnUNetTrainer"]}, "nnUNetTrainer is none of them"),
        ({"plans": "../nnUNetPlans"}, "cannot be the name of plans"),
        ({"plans": "Other", "run_planning": False}, "Other.json does not exist. The data set has the plans nnUNetPl"),
        ({"plans": "nnUNetResEncUNetLPlans", "run_planning": False}, "-d 137 -pl nnUNetPlannerResEncL"),
        ({"planner": "a b"}, "no name of a planner"),
        ({"planner": "nnUNetPlannerResEncM"}, "ExperimentPlanner's plans.*ResEncM -p nnUNetResEncUNetMPlans"),
        ({"plans": "nnUNetResEncUNetMPlans"}, "add -pl nnUNetPlannerResEncM, or for ExperimentPlanner -p nnUNetPlans"),
        ({"planner": "Mine"}, "for Mine -p another name"),
        ({"images": Path("missing")}, "--images: missing is no folder with files"),
        ({"reference": Path("missing")}, "--reference: missing is no folder with files"),
        ({"reference": SHIPPED}, "no images to predict"),
    ],
)
def test_impossible_choices_write_nothing(tmp_path, folders, changes, message):
    with pytest.raises(UserError, match=message):
        write_workflow(tmp_path / "w", choices(**changes), {name: str(folder) for name, folder in folders.items()})
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "file", ["nnUNet_raw/Dataset137_BraTS/dataset", "nnUNet_preprocessed/Dataset137_BraTS/nnUNetPlans"]
)
def test_cut_off_files_are_named(tmp_path, folders, file):
    path = tmp_path / f"{file}.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=rf"{path.name} is no JSON, perhaps it was cut off"):
        check_choices(choices(run_planning=False, configurations=["3d"]), folders)


def test_pairing_needs_two_channels(folders):
    (folders["nnUNet_raw"] / NAME / "dataset.json").write_text(json.dumps(Case(channels=("CT",)).dataset_json))
    with pytest.raises(UserError, match="needs at least 2 channels; the dataset has only 'CT'"):
        check_choices(choices(), folders)


def test_sizes_must_fit_the_plans_that_are_there(folders):
    there = choices(run_planning=False, configurations=["3d"], assignments=["patch_size=[9,8,8]"])
    with pytest.raises(UserError, match="multiples of"):
        check_choices(there, folders)


def test_preprocessed_data_must_be_there(folders):
    (folders["nnUNet_preprocessed"] / NAME / "nnUNetPlans_3d").rmdir()
    with pytest.raises(UserError, match="Run: nnUNetv2_preprocess -d 137 -plans_name nnUNetPlans -c 3d"):
        check_choices(choices(run_planning=False, configurations=["3d"]), folders)


def test_plans_of_another_planner_are_not_replaced(folders):
    plans = {key: value for key, value in Case().plans.items() if key != "nnunet_ext"} | {"plans_name": "Mine"}
    (folders["nnUNet_preprocessed"] / NAME / "Mine.json").write_text(json.dumps(plans))
    check_choices(choices(plans="Mine"), folders)
    with pytest.raises(UserError, match="made by ExperimentPlanner, and nnUNetPlannerResEncM would replace it"):
        check_choices(choices(plans="Mine", planner="nnUNetPlannerResEncM"), folders)


def test_plans_of_this_package_are_not_planned_again(folders):
    plans = {**Case().plans, "plans_name": "Mine", "nnunet_ext": {}}
    (folders["nnUNet_preprocessed"] / NAME / "Mine.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match=r"made by nnunet_ext plan, .*Planner would replace.*--preprocessed"):
        check_choices(choices(plans="Mine"), folders)
    check_choices(choices(plans="Mine", run_planning=False, configurations=["3d"]), folders)


def test_names_for_a_shell_are_refused(folders):
    (folders["nnUNet_raw"] / "Dataset903_a$(touch X)b").mkdir()
    for dataset in ("903", "Dataset903_a$(touch X)b"):
        with pytest.raises(UserError, match="rename the data set"):
            check_choices(choices(dataset=dataset), folders)


def test_schema_has_the_same_names():
    schema = (SHIPPED / "config.schema.yaml").read_text()
    for pattern in (DATASET_NAME, PLANNER_NAME):
        assert f'"^{pattern}$(?!\\\\n)"' in schema
