"""Incomplete cases through nnU-Net's commands: completed, predicted by a continued training with dropout, ensembled."""

import json
import re

import numpy as np
import pytest
import SimpleITK

pytestmark = pytest.mark.end_to_end

DATASET, TRAINER = "Dataset999_Phantom", "ModalityDropoutTrainer"
OPTIONS = ("-tr", TRAINER, "-p", "Tiny", "-device", "cpu")


def plan(workspace, epochs):
    settings = [f"num_epochs={epochs}", "num_iterations_per_epoch=30", "num_val_iterations_per_epoch=1"]
    settings += ["base_num_features=4", "--overwrite"]
    workspace.run("nnunet_ext", "plan", "-d", 999, "-tr", TRAINER, "-o", "Tiny", *settings)


def labels(folder):
    return {file.name: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for file in folder.glob("*.nii.gz")}


@pytest.fixture(scope="module")
def workspace(workspace_with_phantom):
    """A model trained for one epoch and continued for another, and predictions of complete and of completed cases."""
    workspace = workspace_with_phantom
    train = ("nnUNetv2_train", "999", "3d_fullres", 0, *OPTIONS)
    plan(workspace, 1)
    workspace.run(*train)
    plan(workspace, 2)
    workspace.run(*train, "--c")
    images = workspace.folder("raw") / DATASET / "imagesTs"
    (workspace.root / "gaps").mkdir()
    for file in images.glob("phantom_ts000_*.nii.gz"):
        if not file.name.endswith(("_0000.nii.gz", "_0003.nii.gz")):  # T1 and FLAIR are missing
            (workspace.root / "gaps" / file.name).symlink_to(file)
    workspace.run("nnunet_ext", "complete", workspace.root / "gaps", workspace.root / "completed", "-d", "999")
    predict = ("nnUNetv2_predict", "-d", 999, "-c", "3d_fullres", "-f", 0, *OPTIONS, "-npp", 1, "-nps", 1)
    for name in ("gaps", "all"):
        source = workspace.root / "completed"
        if name == "all":
            source = workspace.root / "one"
            source.mkdir()
            for file in images.glob("phantom_ts000_*.nii.gz"):
                (source / file.name).symlink_to(file)
        workspace.run(*predict, "-i", source, "-o", workspace.root / f"predicted_{name}", "--save_probabilities")
    return workspace


def test_continued_training_keeps_its_dropout(workspace):
    model = workspace.model(DATASET, TRAINER, "Tiny")
    log = "".join(file.read_text() for file in sorted((model / "fold_0").glob("training_log_*.txt")))
    assert re.findall(r"\bEpoch (\d+)\b", log) == ["0", "1"]
    assert log.count("Modality dropout: a sample loses modalities with probability 0.9333") == 2
    plans = json.loads((model / "plans.json").read_text())
    assert plans["nnunet_ext"]["modality_dropout"] == pytest.approx(14 / 15)
    assert plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"].endswith("PlainConvUNet")


def test_completed_case_is_predicted_from_what_is_there(workspace):
    # of probabilities: after so few steps both label maps can be empty
    without, with_all = (
        np.load(workspace.root / f"predicted_{name}" / "phantom_ts000.npz")["probabilities"] for name in ("gaps", "all")
    )
    assert without.shape == with_all.shape
    assert not np.array_equal(without, with_all)


def test_subsets_command_gives_the_same_prediction(workspace):
    images = workspace.root / "one"
    references = workspace.folder("raw") / DATASET / "labelsTs"
    output = workspace.root / "subsets"
    model = workspace.model(DATASET, TRAINER, "Tiny")
    arguments = ("-i", images, "-r", references, "-o", output, "--keep", "T1ce,T2", "--device", "cpu")
    workspace.run("nnunet_ext", "subsets", model, *arguments)
    ours, theirs = labels(output / "T1ce+T2"), labels(workspace.root / "predicted_gaps")
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_predictions_with_and_without_gaps_are_ensembled(workspace):
    folders = [workspace.root / f"predicted_{name}" for name in ("gaps", "all")]
    workspace.run("nnUNetv2_ensemble", "-i", *folders, "-o", workspace.root / "ensemble", "-np", 1)
    assert labels(workspace.root / "ensemble").keys() == labels(folders[0]).keys()
