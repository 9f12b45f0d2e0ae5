"""Data sets are found by number or name, and by nothing else; what is missing comes with the command that makes it."""

import json

import pytest

from nnunet_ext.errors import UserError
from nnunet_ext.planning.dataset_folder import DatasetError, find_dataset, how_to_make, preprocessed_folder, read_plans


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "nnUNet_raw"
    for name in ("Dataset137_BraTS", "Dataset1370_Other", "Dataset007_A", "Dataset007_B", "Datasets"):
        (root / name).mkdir(parents=True)
    (tmp_path / "Dataset001_Outside").mkdir()
    return root


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("137", "Dataset137_BraTS"),
        ("0137", "Dataset137_BraTS"),
        ("1370", "Dataset1370_Other"),
        ("Dataset137_BraTS", "Dataset137_BraTS"),
        ("Dataset007_B", "Dataset007_B"),
    ],
)
def test_number_or_name(root, dataset, name):
    assert find_dataset(root, dataset) == root / name


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("BraTS", "whole name of its folder: Dataset137_BraTS"),
        ("Nothing", "such as 137"),
        ("7", "several data sets 7: Dataset007_A, Dataset007_B"),
        ("8", "8 was not found in .*It has Dataset007_A"),
        ("Dataset137_BraT", "was not found"),
        ("../Dataset001_Outside", "no data set"),
        ("Dataset001_../../Dataset001_Outside", "was not found"),
        ("Dataset137_BraTS/", "was not found"),
        ("Datasets", "no data set"),
        ("", "no data set"),
        ("²", "no data set"),
        ("-1", "no data set"),
    ],
)
def test_what_is_no_data_set(root, dataset, message):
    with pytest.raises(DatasetError, match=message):
        find_dataset(root, dataset)


def test_folder_that_is_not_there_has_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="It has none"):
        find_dataset(tmp_path / "none", "137")


@pytest.mark.parametrize("dataset", ["8", "Dataset008_X"])
def test_what_is_not_preprocessed_comes_with_the_command(root, monkeypatch, dataset):
    monkeypatch.setenv("nnUNet_preprocessed", str(root))
    with pytest.raises(DatasetError, match=r"Run: nnUNetv2_plan_and_preprocess -d 8$"):
        preprocessed_folder(dataset)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("nnUNetPlans", "Run: nnUNetv2_plan_and_preprocess -d 7"),
        ("nnUNetResEncUNetMPlans", "Run: nnUNetv2_plan_and_preprocess -d 7 -pl nnUNetPlannerResEncM"),
        ("nnUNetResEncUNetXLPlans", "Run: nnUNetv2_plan_and_preprocess -d 7 -pl nnUNetPlannerResEncXL"),
        ("nnUNetPlansShort", "The data set has the plans Mine."),
    ],
)
def test_missing_plans_come_with_the_command_that_makes_them(root, name, remedy):
    folder = root / "Dataset007_A"
    (folder / "Mine.json").write_text(json.dumps({"plans_name": "Mine", "configurations": {}}))
    (folder / "dataset.json").write_text("{}")
    (folder / "Cut.json").write_text('{"plans_name": "Cut", "configurations"')
    assert how_to_make(folder, name) == remedy
    with pytest.raises(UserError, match=rf"{name}\.json does not exist\. {remedy}"):
        read_plans(folder, name)
