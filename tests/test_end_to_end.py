"""From raw images to identical predictions on another machine, through nnU-Net's own commands."""

import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
import SimpleITK
import torch

pytestmark = pytest.mark.end_to_end

DATASET, PLANS, EPOCHS = "Dataset999_Phantom", "Tiny", 3
TRAIN = ("nnUNetv2_train", "999", "3d_fullres")
OPTIONS = ("-tr", "ModalityPairingTrainer", "-p", PLANS, "-device", "cpu")


def log_of(model, fold=0):
    return "".join(file.read_text() for file in sorted((model / f"fold_{fold}").glob("training_log_*.txt")))


def train_until(pattern, fold, workspace, model):
    """Kill a training when its log has a pattern, as a cluster does when the time is up."""
    process = workspace.start(*TRAIN, fold, *OPTIONS, start_new_session=True)
    deadline = time.time() + 300
    while not (model.is_dir() and re.search(pattern, log_of(model, fold))):
        assert process.poll() is None, "training ended before it could be stopped"
        assert time.time() < deadline, f"the log of fold {fold} did not reach {pattern}"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)  # with the processes that load its data
    process.wait()


@pytest.fixture(scope="module")
def workspace(workspace_with_phantom):
    """Two trained folds, one killed in an epoch and one in validation, and both resumed."""
    workspace = workspace_with_phantom
    settings = [f"num_epochs={EPOCHS}", "num_iterations_per_epoch=15", "num_val_iterations_per_epoch=1"]
    settings += ["save_every=1", "warmup_epochs=1", "base_num_features=4"]
    workspace.run("nnunet_ext", "plan", "-d", 999, "-tr", "ModalityPairingTrainer", "-o", PLANS, *settings)
    model = workspace.model(DATASET, "ModalityPairingTrainer", PLANS)
    train_until(r"Epoch 1\b", 0, workspace, model)
    assert (model / "fold_0" / "checkpoint_latest.pth").is_file()
    assert not (model / "fold_0" / "checkpoint_final.pth").exists()
    workspace.run(*TRAIN, 0, *OPTIONS, "--c", "--npz")
    train_until("predicting", 1, workspace, model)
    assert not (model / "fold_1" / "validation" / "summary.json").exists()
    workspace.run(*TRAIN, 1, *OPTIONS, "--c")
    return workspace


@pytest.fixture(scope="module")
def model(workspace):
    return workspace.model(DATASET, "ModalityPairingTrainer", PLANS)


def predict(workspace, name):
    """Test case predicted with both folds, mirroring on, in a fresh process."""
    arguments = ("-d", 999, "-c", "3d_fullres", "-f", 0, 1, *OPTIONS, "-npp", 1, "-nps", 1)
    images, output = workspace.folder("one_case"), workspace.folder(name)
    workspace.run("nnUNetv2_predict", *arguments, "-i", images, "-o", output, "--save_probabilities")
    return output


@pytest.fixture(scope="module")
def prediction(workspace):
    """Folder with one case's segmentation and probabilities."""
    workspace.folder("one_case").mkdir()
    for file in (workspace.folder("raw") / DATASET / "imagesTs").glob("phantom_ts000_*.nii.gz"):
        shutil.copy(file, workspace.folder("one_case"))
    return predict(workspace, "here")


def segmentation(folder):
    (file,) = folder.glob("*.nii.gz")
    return SimpleITK.ReadImage(str(file))


def test_resumed_training_continues_where_it_stopped(model):
    epochs = [int(number) for number in re.findall(r"\bEpoch (\d+)\b", log_of(model))]
    assert epochs[:2] == [0, 1]
    assert epochs[2:] in ([1, 2], [2])  # again the epoch that was cut off, or the next if it was complete
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    curves = {key: value for key, value in checkpoint["logging"].items() if key.startswith("loss_")}
    assert set(curves) == {"loss_segmentation", "loss_modality_pairing"}
    assert all(len(curve) == EPOCHS and np.isfinite(curve).all() for curve in curves.values())
    # warm-up of one epoch: 0.01, then 0.01 (1 - e / 3)^0.9
    assert checkpoint["logging"]["lrs"] == pytest.approx([0.01, 0.01 * (2 / 3) ** 0.9, 0.01 * (1 / 3) ** 0.9])


def test_training_killed_in_validation_only_validates_again(model):
    assert re.findall(r"\bEpoch (\d+)\b", log_of(model, 1)) == [str(epoch) for epoch in range(EPOCHS)]
    assert (model / "fold_1" / "validation" / "summary.json").is_file()


def test_component_losses_are_in_the_log_and_plotted(model):
    assert "loss components {'segmentation':" in log_of(model)
    assert (model / "fold_0" / "progress.png").stat().st_size > 0
    assert (model / "fold_0" / "progress_components.png").stat().st_size > 0


def test_model_folder_says_what_it_was_trained_with(model):
    plans = json.loads((model / "plans.json").read_text())
    assert plans["nnunet_ext"]["modality_groups"] == [["FLAIR", "T2"], ["T1ce", "T1"]]
    assert plans["nnunet_ext"]["pairing_weight"] == 0.5
    assert plans["nnunet_ext"]["num_epochs"] == EPOCHS
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_ext.architectures.ModalityPairingUNet"


def test_validation_wrote_probabilities_and_scores(model):
    (probabilities,) = (model / "fold_0" / "validation").glob("*.npz")
    assert np.load(probabilities)["probabilities"].shape[0] == 3
    assert (model / "fold_0" / "validation" / "summary.json").is_file()


def test_prediction_has_the_geometry_of_the_image(workspace, prediction):
    result = segmentation(prediction)
    image = SimpleITK.ReadImage(str(next(workspace.folder("one_case").glob("*_0000.nii.gz"))))
    assert result.GetSize() == image.GetSize()
    assert result.GetSpacing() == pytest.approx(image.GetSpacing())
    assert result.GetOrigin() == pytest.approx(image.GetOrigin())
    assert set(np.unique(SimpleITK.GetArrayFromImage(result))) <= {0, 1, 2, 3}


def test_exported_model_predicts_the_same_elsewhere(workspace, prediction, model):
    archive = workspace.folder("model.zip")
    export = ("nnUNetv2_export_model_to_zip", "-d", 999, "-c", "3d_fullres", "-f", 0, 1)
    workspace.run(*export, "-tr", "ModalityPairingTrainer", "-p", PLANS, "-o", archive, "--not_strict")
    workspace.folder("results").rename(workspace.folder("old_results"))
    workspace.folder("results").mkdir()
    workspace.run("nnUNetv2_install_pretrained_model_from_zip", archive)
    elsewhere = predict(workspace, "elsewhere")
    arrays = [SimpleITK.GetArrayFromImage(segmentation(folder)) for folder in (prediction, elsewhere)]
    assert np.array_equal(*arrays)
    probabilities = [np.load(next(folder.glob("*.npz")))["probabilities"] for folder in (prediction, elsewhere)]
    assert np.array_equal(*probabilities)
