"""The gate through nnU-Net's own commands: on, off in a trained model, and in an ensemble of both architectures."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunet_ext.datasets.phantom import ENHANCING

pytestmark = pytest.mark.end_to_end

DATASET, PLANS, ARCHITECTURES = "Dataset999_Phantom", "Tiny", ("BiFPN", "NestedUNet")
REGIONS = ("whole_tumor", "tumor_core", "enhancing_tumor")
WITHOUT_ENHANCING = "phantom_ts002"


@pytest.fixture(scope="module")
def workspace(workspace_with_phantom):
    """A fold of each architecture; the last of the three test cases has no enhancing tumour."""
    workspace = workspace_with_phantom
    settings = ["num_epochs=2", "num_iterations_per_epoch=25", "num_val_iterations_per_epoch=2", "warmup_epochs=0"]
    settings += ["base_num_features=4", "dropout=0.0"]
    for architecture in ARCHITECTURES:
        trainer = f"{architecture}ClassifierTrainer"
        workspace.run("nnunet_ext", "plan", "-d", 999, "-tr", trainer, "-o", f"{PLANS}{architecture}", *settings)
        options = ("-tr", trainer, "-p", f"{PLANS}{architecture}", "-device", "cpu")
        workspace.run("nnUNetv2_train", 999, "3d_fullres", 0, *options)
    return workspace


def model_folder(workspace, architecture):
    return workspace.model(DATASET, f"{architecture}ClassifierTrainer", f"{PLANS}{architecture}")


def predict(workspace, architecture, gate: bool) -> Path:
    """Predict the test cases with the gate on or off, which is changed in the model's own plans alone."""
    file = model_folder(workspace, architecture) / "plans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["gate_slices"] = gate
    file.write_text(json.dumps(plans))
    folder = workspace.folder(f"{architecture}_{'gated' if gate else 'open'}")
    model = ("-tr", f"{architecture}ClassifierTrainer", "-p", f"{PLANS}{architecture}", "-device", "cpu")
    images = workspace.folder("raw") / DATASET / "imagesTs"
    arguments = ("-d", 999, "-c", "3d_fullres", "-f", 0, *model, "-npp", 1, "-nps", 1, "--save_probabilities")
    workspace.run("nnUNetv2_predict", *arguments, "-i", images, "-o", folder)
    return folder


@pytest.fixture(scope="module")
def predictions(workspace):
    """(architecture, gate) -> folder with segmentations and probabilities."""
    return {(name, gate): predict(workspace, name, gate) for name in ARCHITECTURES for gate in (True, False)}


def segmentations(folder):
    return {
        file.name.removesuffix(".nii.gz"): SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
        for file in sorted(folder.glob("*.nii.gz"))
    }


def probabilities(folder):
    return {file.stem: np.load(file)["probabilities"] for file in sorted(folder.glob("*.npz"))}


def false_positive_cases(folder, reference):
    """Cases without enhancing tumour in which some is predicted."""
    true = segmentations(reference)
    return [
        case
        for case, prediction in segmentations(folder).items()
        if (prediction == ENHANCING).any() and not (true[case] == ENHANCING).any()
    ]


def test_saved_plans_carry_gate_and_slice_axis(workspace):
    for architecture in ARCHITECTURES:
        plans = json.loads((model_folder(workspace, architecture) / "plans.json").read_text())
        kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        assert kwargs["slice_axis"] == plans["transpose_forward"].index(0)
        assert plans["nnunet_ext"]["gate_slices"] is True


def test_training_log_has_the_scores_of_slices(workspace):
    for architecture in ARCHITECTURES:
        (file,) = (model_folder(workspace, architecture) / "fold_0").glob("training_log_*.txt")
        log = file.read_text()
        for score in ("accuracy", "sensitivity", "specificity"):
            assert log.count(f"slice {score} [") == 2  # epochs


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gate_lowers_some_slices_and_raises_none(architecture, predictions):
    gated, open_ = (probabilities(predictions[architecture, gate]) for gate in (True, False))
    assert list(gated) == list(open_)
    assert len(gated) == 3
    lowered = 0
    for case, with_gate in gated.items():
        without = open_[case]
        assert with_gate.shape[0] == len(REGIONS)
        assert (with_gate <= without).all()
        # slices lie along the first axis of the image, and nnU-Net resamples nothing here
        touched = (with_gate < without).any((2, 3))
        lowered += touched.sum()
    assert lowered > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gated_regions_lie_in_the_ungated_ones(architecture, predictions):
    for case, gated in probabilities(predictions[architecture, True]).items():
        open_ = probabilities(predictions[architecture, False])[case]
        assert not ((gated > 0.5) & ~(open_ > 0.5)).any()


def test_ensemble_of_both_architectures_has_no_more_false_positive_cases_with_the_gate(workspace, predictions):
    reference = workspace.folder("raw") / DATASET / "labelsTs"
    assert not (segmentations(reference)[WITHOUT_ENHANCING] == ENHANCING).any()
    counts, voxels = {}, {}
    for gate in (True, False):
        inputs = [predictions[architecture, gate] for architecture in ARCHITECTURES]
        output = workspace.folder(f"ensemble_{gate}")
        workspace.run("nnUNetv2_ensemble", "-i", *inputs, "-o", output, "-np", 1, "--save_npz")
        assert list(segmentations(output)) == ["phantom_ts000", "phantom_ts001", WITHOUT_ENHANCING]
        for case, mean in probabilities(output).items():
            members = [probabilities(folder)[case] for folder in inputs]
            np.testing.assert_allclose(mean, sum(members) / len(members), atol=1e-3)
        counts[gate] = len(false_positive_cases(output, reference))
        voxels[gate] = int((segmentations(output)[WITHOUT_ENHANCING] == ENHANCING).sum())
    print(f"false-positive cases with gate {counts[True]}, without {counts[False]}; voxels {voxels}")
    assert counts[True] <= counts[False]
    assert voxels[True] <= voxels[False]
