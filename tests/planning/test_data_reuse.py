"""Which preprocessed data new plans share."""

import json
from copy import deepcopy

import pytest

from nnunet_ext.planning.data_reuse import share_data
from nnunet_ext.testing import Case


def new_plans(case=None):
    plans = (case or Case()).plans | {"plans_name": "New"}
    plans["configurations"]["3d"]["data_identifier"] = "New_3d"
    return plans


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(Case().plans))
    (tmp_path / "dataset.json").write_text(json.dumps(Case().dataset_json))
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": [], "val": []}]))
    (tmp_path / "nnUNetPlans_3d").mkdir()
    return tmp_path


def test_same_spacing_and_normalization_share(folder):
    plans = new_plans()
    (source,) = share_data(plans, folder)
    assert plans["configurations"]["3d"]["data_identifier"] == "nnUNetPlans_3d"
    assert (source.plans, source.source, source.preprocessed) == ("nnUNetPlans", "3d", True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spacing", [1.0, 1.0, 1.1]),
        ("spacing", [1.0, 1.0]),
        ("normalization_schemes", ["CTNormalization"] * 4),
        ("use_mask_for_norm", [False] * 4),
        ("preprocessor_name", "Other"),
        ("resampling_fn_data_kwargs", {"order": 1}),
    ],
)
def test_what_changes_the_data_keeps_it_apart(folder, key, value):
    plans = new_plans()
    plans["configurations"]["3d"][key] = value
    (source,) = share_data(plans, folder)
    assert plans["configurations"]["3d"]["data_identifier"] == "New_3d"
    assert (source.plans, source.source, source.preprocessed) == ("New", "3d", False)


def test_other_order_of_the_axes_keeps_it_apart(folder):
    plans = new_plans() | {"transpose_forward": [2, 0, 1]}
    share_data(plans, folder)
    assert plans["configurations"]["3d"]["data_identifier"] == "New_3d"


def test_patch_and_batch_do_not_matter(folder):
    plans = new_plans()
    plans["configurations"]["3d"].update(patch_size=[8, 8, 8], batch_size=9)
    share_data(plans, folder)
    assert plans["configurations"]["3d"]["data_identifier"] == "nnUNetPlans_3d"


def test_cascade_uses_the_data_it_inherits(folder):
    plans = new_plans(Case(cascade=True))
    assert [source.configuration for source in share_data(plans, folder)] == ["3d"]
    assert "data_identifier" not in plans["configurations"]["3d_cascade_fullres"]


def test_data_that_exists_is_preferred(folder):
    other = deepcopy(Case().plans) | {"plans_name": "Other"}
    other["configurations"]["3d"]["data_identifier"] = "Other_3d"
    (folder / "Other.json").write_text(json.dumps(other))
    (folder / "nnUNetPlans_3d").rmdir()
    (folder / "Other_3d").mkdir()
    (source,) = share_data(new_plans(), folder)
    assert source.plans == "Other"


def test_own_older_plans_are_no_source(folder):
    (folder / "nnUNetPlans.json").unlink()
    (folder / "New.json").write_text(json.dumps(new_plans()))
    (source,) = share_data(new_plans(), folder)
    assert source.plans == "New"
