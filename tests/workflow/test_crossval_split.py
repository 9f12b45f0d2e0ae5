"""The split that the workflow writes is the one that nnU-Net's trainers write."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.errors import UserError
from nnunet_ext.workflow.crossval_split import SplitError, write_split

NAME = "Dataset137_BraTS"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Preprocessed data set of eleven cases without content; 3d_fullres alone is preprocessed."""
    folder = tmp_path / NAME
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (folder / "data_3d").mkdir(parents=True)
    for case in range(11):
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            (folder / "data_3d" / f"case_{case}{ending}").touch()
    configurations = {
        name: {"data_identifier": f"data_{name[:2]}", "architecture": {}} for name in ("2d", "3d_fullres")
    }
    (folder / "nnUNetPlans.json").write_text(json.dumps({"configurations": configurations}))
    return folder


def nnunet_split(folder):
    """What ``nnUNetTrainer.do_split`` writes for the same folder."""
    trainer = SimpleNamespace(
        dataset_class=nnUNetDatasetBlosc2,
        preprocessed_dataset_folder=str(folder / "data_3d"),
        preprocessed_dataset_folder_base=str(folder),
        folder_with_segs_from_previous_stage=None,
        fold=0,
        print_to_log_file=lambda *words: None,
    )
    nnUNetTrainer.do_split(trainer)
    return folder / "splits_final.json"


def test_split_is_nnunets_own(folder):
    expected = nnunet_split(folder)
    text = expected.read_text()
    expected.unlink()
    file, new = write_split(NAME, "nnUNetPlans")
    assert new
    assert json.loads(file.read_text()) == json.loads(text)
    assert sorted(case for split in json.loads(text) for case in split["val"]) == sorted(
        f"case_{case}" for case in range(11)
    )


def test_own_split_of_the_user_stays(folder):
    (folder / "splits_final.json").write_text("[]")
    file, new = write_split(NAME, "nnUNetPlans")
    assert not new
    assert file.read_text() == "[]"


def test_interrupted_write_leaves_no_split(folder, monkeypatch):
    def interrupt(*names):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_split(NAME, "nnUNetPlans")
    assert not (folder / "splits_final.json").exists()


def test_too_few_cases_are_an_error(folder):
    for case in range(4, 11):
        for file in (folder / "data_3d").glob(f"case_{case}*"):
            file.unlink()
    with pytest.raises(SplitError, match="4 cases are too few"):
        write_split(NAME, "nnUNetPlans")


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        ("nnUNetPlans", "Run: nnUNetv2_preprocess -d 137 -plans_name nnUNetPlans"),
        ("Others", r"Others\.json does not exist"),
    ],
)
def test_what_is_missing_is_named(folder, plans, message):
    (folder / "data_3d").rename(folder / "elsewhere")
    with pytest.raises(UserError, match=message):
        write_split(NAME, plans)
    assert not Path(folder, "splits_final.json").exists()
