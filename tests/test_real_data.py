"""The whole way on real images: regions and plain labels, two and four channels."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from workspace import CHECKOUT, Workspace

DATA = CHECKOUT.parent / "shared" / "data"
PLANS = "Short"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not beside this checkout"),
]


def copy_dataset(name: str, workspace: Workspace) -> Path:
    """Copy a data set, writable, into nnUNet_raw."""
    target = workspace.folder("raw") / name
    for source in (DATA / name).rglob("*"):
        if source.is_file():
            (target / source.relative_to(DATA / name)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / source.relative_to(DATA / name))
    return target


@pytest.mark.parametrize(
    ("dataset", "patch", "groups"),
    [
        ("Dataset301_Glioma", "[32,32,32]", "[['FLAIR'], ['T1ce']]"),
        ("Dataset302_MSLesions", "[32,32,24]", "[['FLAIR', 'T2'], ['T1ce', 'T1']]"),
    ],
)
def test_train_and_predict(dataset, patch, groups, tmp_path):
    workspace = Workspace(tmp_path / "nnunet")
    raw = copy_dataset(dataset, workspace)
    number = dataset[7:10]
    workspace.run("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "3d_fullres", "-np", 2, "-npfp", 2)
    settings = ["num_epochs=1", "num_iterations_per_epoch=4", "num_val_iterations_per_epoch=1", "base_num_features=4"]
    options = ("-tr", "ModalityPairingTrainer", "-p", PLANS, "-device", "cpu")
    plan = ("nnunet_ext", "plan", "-d", number, "-tr", "ModalityPairingTrainer", "-o", PLANS)
    workspace.run(*plan, *settings, f"patch_size={patch}")
    output = workspace.run("nnUNetv2_train", number, "3d_fullres", 0, *options)
    assert f"Modality groups: {groups}" in output
    assert "Mean Validation Dice" in output
    images = tmp_path / "images"
    images.mkdir()
    case = sorted((raw / "labelsTr").iterdir())[0].name.removesuffix(".nii.gz")
    for file in (raw / "imagesTr").glob(f"{case}_*.nii.gz"):
        shutil.copy(file, images)
    arguments = ("-d", number, "-c", "3d_fullres", "-f", 0, *options, "--disable_tta")
    workspace.run("nnUNetv2_predict", *arguments, "-i", images, "-o", tmp_path / "out")
    prediction = SimpleITK.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
    reference = SimpleITK.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz"))
    assert prediction.GetSize() == reference.GetSize()
    assert prediction.GetOrigin() == pytest.approx(reference.GetOrigin())
    allowed = {0, 1, 2, 3} if number == "301" else {0, 1}
    assert set(np.unique(SimpleITK.GetArrayFromImage(prediction))) <= allowed
