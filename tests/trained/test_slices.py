"""``nnunet_ext slices`` on untrained models, against nnU-Net's own prediction and numbers by hand."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from label_cases import read_image
from model_folders import CHECKPOINT, model_folder, write_images
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError, UserError
from nnunet_ext.labels.dataset_labels import Region
from nnunet_ext.testing import Case
from nnunet_ext.trained.loaded_model import PredictionChoices, load_model
from nnunet_ext.trained.slice_figure import draw_slices
from nnunet_ext.trained.slice_probabilities import CaseSlices, classified_regions, on_file_slices, slices_of_case
from nnunet_ext.trained.slices import write_slices
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers import BiFPNClassifierTrainer, BiFPNTrainer

CPU = torch.device("cpu")
SOLID = Case(channels=("T2", "T1ce"), regions=True)
FLAT = Case("2d", 2, (16, 16), ((1, 1), (2, 2), (2, 2)), ((3, 3),) * 3, channels=("T2", "T1ce"))


REGIONS = [Region("whole_tumor", (1, 2, 3)), Region("tumor_core", (1, 3)), Region("enhancing_tumor", (3,))]


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))


def set_biases(folder, slice_logits, voxel_logits, fold=0):
    """Make a model's logits constants: those of slices, and those of voxels."""
    file = folder / f"fold_{fold}" / CHECKPOINT
    content = torch.load(file, weights_only=False)
    weights = content["network_weights"]
    for layer, biases in (("classifier.fc", slice_logits), ("head", voxel_logits)):
        names = [name for name in weights if name.startswith(layer) and name.endswith(("weight", "bias"))]
        assert len(names) == 2, list(weights)
        for name in names:
            weights[name].zero_()
            if name.endswith("bias"):
                weights[name] += torch.tensor(biases)
    torch.save(content, file)


class Transposed(Case):
    """nnU-Net sees the file's axes in the order 2, 0, 1; its slices lie along its second axis."""

    @property
    def plans(self):
        return super().plans | {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}


@pytest.mark.parametrize("case", [SOLID, Transposed(channels=("T2", "T1ce"), regions=True)], ids=["", "transposed"])
def test_gate_by_hand(case, tmp_path):
    folder = model_folder(BiFPNClassifierTrainer, case, tmp_path / "model_of")
    # whole tumour everywhere, in slices of probability 1 / (1 + e^-2) = 0.8808; enhancing tumour everywhere without the
    # gate, in slices of 1 / (1 + e^3) = 0.0474; of the core only the enhancing tumour, whose label is in it
    set_biases(folder, [2.0, 1.0, -3.0], [4.0, -4.0, 4.0])
    (tmp_path / "images").mkdir()
    write_images(tmp_path / "images", (12, 16, 18))
    out = tmp_path / "out"
    arguments = ["slices", str(folder), "-i", str(tmp_path / "images"), "-o", str(out), "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "case  slices emptied by the gate: whole_tumor 0, tumor_core 12, enhancing_tumor 12" in result.output
    table = pd.read_csv(out / "slices.csv").set_index(["region", "slice"])
    assert len(table) == 3 * 12
    plane = 16 * 18
    for region, probability, before, after in (
        ("whole_tumor", 0.8808, plane, plane),
        ("tumor_core", 0.7311, plane, 0),
        ("enhancing_tumor", 0.0474, plane, 0),
    ):
        rows = table.loc[region]
        np.testing.assert_allclose(rows["probability"], probability, atol=1e-4)
        assert set(rows["voxels_without_gate"]) == {before}
        assert set(rows["voxels"]) == {after}
        assert set(rows["emptied"]) == {after == 0}
    assert (out / "case.png").stat().st_size > 10_000


def test_folds_are_averaged_as_logits(tmp_path):
    folder = model_folder(BiFPNClassifierTrainer, SOLID, tmp_path / "model_of")
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    set_biases(folder, [4.0, -1.0, 0.0], [4.0, -4.0, -4.0])
    set_biases(folder, [-1.0, -1.0, 0.0], [4.0, -4.0, -4.0], fold=1)
    model = load_model(PredictionChoices(str(folder)), CPU)
    found = slices_of_case(model, write_images(tmp_path, (8, 16, 16)), REGIONS, CPU)
    # (4 - 1) / 2 = 1.5, -1, 0 after the sigmoid
    np.testing.assert_allclose(found.probability, np.array([[0.8176], [0.2689], [0.5]]).repeat(8, 1), atol=1e-4)
    # min(4, 4) and min(4, -1): the mean, 1.5, is above 0
    assert (found.after[0] == 256).all()


@pytest.mark.parametrize("case", [SOLID, FLAT], ids=["3d", "2d"])
def test_voxels_are_those_that_nnunet_predicts(case, tmp_path):
    torch.manual_seed(0)
    folder = model_folder(BiFPNClassifierTrainer, case, tmp_path / "model_of")
    files = write_images(tmp_path, (9, 16, 26))
    model = load_model(PredictionChoices(str(folder)), CPU)
    found = slices_of_case(model, files, classified_regions(folder / "dataset.json"), CPU)
    predicted = {}
    for gate in (True, False):
        model.network.gate_slices = gate
        images, properties = model.read_images(files)
        model.predict(images, properties, tmp_path / f"gate_{gate}")
        predicted[gate] = read_image(tmp_path / f"gate_{gate}.nii.gz")
    assert (predicted[True] != predicted[False]).any()
    for row, region in enumerate(classified_regions(folder / "dataset.json")):
        # of 416 voxels; nnU-Net sums tiles in half precision, in which these untrained logits are near 0
        np.testing.assert_allclose(found.after[row], region.mask(predicted[True]).sum((1, 2)), atol=25)
        np.testing.assert_allclose(found.before[row], region.mask(predicted[False]).sum((1, 2)), atol=25)


def test_values_lie_on_the_slices_of_the_file():
    properties = {"bbox_used_for_cropping": [[0, 9], [2, 6]], "shape_before_cropping": (9, 7)}
    # 2 slices over the extent of 4: their centres are at 0.5 and 2.5 of those, so at 0
    # the first is the nearest, then 0.25 and 0.75 of the way
    found = on_file_slices(np.array([[1.0, 3.0]]), properties, axis=1)
    np.testing.assert_allclose(found, [[np.nan, np.nan, 1.0, 1.5, 2.5, 3.0, np.nan]])


def test_plain_labels_follow_their_values(tmp_path):
    (tmp_path / "dataset.json").write_text(
        '{"labels": {"background": 0, "b": 2, "a": 1, "ignore": 3}, "file_ending": ".nii.gz"}'
    )
    assert [region.name for region in classified_regions(tmp_path / "dataset.json")] == ["a", "b"]


def test_figure_names_what_was_removed(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("nnunet_ext.trained.slice_figure.save_figure", lambda figure, path: drawn.append(figure))
    before = np.array([[0, 5, 5, 5, 0, 7, 8]])
    after = np.array([[0, 0, 0, 5, 0, 0, 6]])
    draw_slices(CaseSlices(("$core$",), np.full((1, 7), 0.25), before, after), "a case", tmp_path / "a.png")
    panel, scale = drawn[0].axes
    assert panel.get_title("left") == "30 voxels without the gate, 11 with it; 3 slices emptied (1-2, 5)"
    assert [bar.get_height() for bar in panel.patches] == [0, 0, 0, 5, 0, 0, 6, 0, 5, 5, 0, 0, 7, 2]
    assert scale.lines[0].get_ydata().tolist() == [0.25] * 7


def test_what_cannot_be_done_is_said_and_nothing_written(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    write_images(images, (8, 16, 16))
    plain = model_folder(BiFPNTrainer, SOLID, tmp_path / "plain")
    with pytest.raises(UserError, match="has no slice classifier"):
        write_slices(PredictionChoices(str(plain)), images, tmp_path / "out", CPU)
    folder = model_folder(BiFPNClassifierTrainer, SOLID, tmp_path / "model_of")
    (images / "case_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="case case lacks T1ce"):
        write_slices(PredictionChoices(str(folder)), images, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()
