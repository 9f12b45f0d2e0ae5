"""Autoencoder regularization through nnU-Net's own commands, and its stripped model."""

import re

import numpy as np
import pytest
import SimpleITK

pytestmark = pytest.mark.end_to_end

DATASET, TRAINER, PLANS = "Dataset999_Phantom", "AutoencoderRegularizedTrainer", "Tiny"
OPTIONS = ("-tr", TRAINER, "-p", PLANS, "-device", "cpu")


@pytest.fixture(scope="module")
def workspace(workspace_with_phantom):
    """A trained fold."""
    workspace = workspace_with_phantom
    settings = ["num_epochs=4", "num_iterations_per_epoch=15", "num_val_iterations_per_epoch=1", "initial_lr=0.003"]
    workspace.run("nnunet_ext", "plan", "-d", 999, "-tr", TRAINER, "-o", PLANS, *settings, "base_num_features=4")
    workspace.run("nnUNetv2_train", 999, "3d_fullres", 0, *OPTIONS)
    return workspace


def test_reconstruction_improves_and_is_drawn(workspace):
    fold = workspace.model(DATASET, TRAINER, PLANS) / "fold_0"
    log = "".join(file.read_text() for file in fold.glob("training_log_*.txt"))
    errors = [float(value) for value in re.findall(r"'reconstruction': ([0-9.]+)", log)]
    assert len(errors) == 4
    assert errors[-1] < 0.8 * errors[0]
    assert (fold / "reconstruction.png").stat().st_size > 0


def test_stripped_model_predicts_the_same_with_nnunets_command(workspace):
    model, images = workspace.model(DATASET, TRAINER, PLANS), workspace.folder("raw") / DATASET / "imagesTs"
    slim = workspace.folder("slim")
    workspace.run("nnunet_ext", "strip", model, "-o", slim)
    probabilities = []
    for name, arguments in (
        ("full", ("nnUNetv2_predict", "-d", 999, "-c", "3d_fullres", *OPTIONS)),
        ("stripped", ("nnUNetv2_predict_from_modelfolder", "-m", slim, "-device", "cpu")),
    ):
        output = workspace.folder(name)
        workspace.run(*arguments, "-f", 0, "-npp", 1, "-nps", 1, "-i", images, "-o", output, "--save_probabilities")
        probabilities.append(np.load(next(output.glob("*.npz")))["probabilities"])
        assert SimpleITK.ReadImage(str(next(output.glob("*.nii.gz")))).GetDimension() == 3
    assert np.array_equal(*probabilities)
