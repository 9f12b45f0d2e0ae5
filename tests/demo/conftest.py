"""A raw data set with the names of files only."""

import json

import pytest

from nnunet_ext.demo.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    """Five training cases and two test cases of two channels, all files empty."""
    workspace = Workspace(tmp_path / "demo" / "Dataset042_Answer")
    for split, count in (("Tr", 5), ("Ts", 2)):
        (workspace.raw / f"images{split}").mkdir(parents=True)
        (workspace.raw / f"labels{split}").mkdir()
        for index in range(count):
            for channel in range(2):
                (workspace.raw / f"images{split}" / f"case{index}_{channel:04d}.nii.gz").touch()
            (workspace.raw / f"labels{split}" / f"case{index}.nii.gz").touch()
    dataset_json = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (workspace.raw / "dataset.json").write_text(json.dumps(dataset_json))
    return workspace
