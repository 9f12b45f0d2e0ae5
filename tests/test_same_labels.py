"""A model gives the same labels however it was copied and called, and finite ones for cases that are hardly any."""

import contextlib
import io
import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import SimpleITK
import torch
from model_folders import CHECKPOINT, RESAMPLING
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.testing import Case, make_batch, make_trainer, training_transforms
from nnunet_ext.trained.strip import strip_model
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainerNoDA,
    AutoencoderRegularizedTrainerNNUNetDA,
    ModalityPairingTrainer,
)

CASE = Case("regions", regions=True, settings={"num_epochs": 1})
FLAT = Case("flat", 2, (16, 16), ((1, 1), (2, 2), (2, 2)), ((3, 3),) * 3, regions=True, settings={"num_epochs": 1})
SHAPES = {"a": (16, 16, 16), "b": (16, 16, 17)}  # one tile, two tiles
# they have the network of another, and change the augmentation alone
AUGMENTATION_ONLY = (AttentionFusionTrainerNoDA, AutoencoderRegularizedTrainerNNUNetDA)
NETWORK_TRAINERS = [trainer for trainer in TRAINERS if trainer not in AUGMENTATION_ONLY]
every_network = pytest.mark.parametrize("trainer_class", NETWORK_TRAINERS, ids=lambda trainer: trainer.__name__)
# nnU-Net's own first: what it does with such cases is what ours must do
own_and_every_network = pytest.mark.parametrize(
    "trainer_class", [nnUNetTrainer, *NETWORK_TRAINERS], ids=lambda trainer: trainer.__name__
)
own_and_every_trainer = pytest.mark.parametrize(
    "trainer_class", [nnUNetTrainer, *TRAINERS], ids=lambda trainer: trainer.__name__
)


class Model(NamedTuple):
    """A model in nnUNet_results, and the images of two cases."""

    folder: Path
    images: Path
    trainer: object


def plans_of_case(case: Case) -> dict:
    plans = case.plans
    plans["configurations"][case.configuration].update(RESAMPLING)
    plans["foreground_intensity_properties_per_channel"] = {str(c): {} for c in range(len(case.channels))}
    return plans


def write_model(trainer_class, root: Path, monkeypatch, case: Case = CASE) -> Model:
    """What a training leaves that has ended, with weights that no two voxels get the same logits of."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(root / f"nnUNet_{name}"))
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))
    torch.manual_seed(0)
    trainer = make_trainer(trainer_class, case, root, plans=plans_of_case(case))
    for parameter in trainer.network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
        parameter.grad = torch.ones_like(parameter)
    trainer.optimizer.step()
    trainer.inference_allowed_mirroring_axes = tuple(range(case.dimension))
    trainer.save_checkpoint(str(Path(trainer.output_folder) / CHECKPOINT))
    folder = Path(trainer.output_folder_base)
    (folder / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    for name in ("dataset.json", "dataset_fingerprint.json"):
        (folder / name).write_text(json.dumps(case.dataset_json))
    (folder / "fold_0" / "validation").mkdir()
    for name in ("progress.png", "validation/summary.json"):
        (folder / "fold_0" / name).touch()
    images = root / "images"
    images.mkdir()
    generator = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        for channel in range(len(case.channels)):
            image = SimpleITK.GetImageFromArray(generator.uniform(1, 2, shape).astype(np.float32))
            SimpleITK.WriteImage(image, str(images / f"{name}_{channel:04d}.nii.gz"))
    return Model(folder, images, trainer)


def predictor_of(folder: Path) -> nnUNetPredictor:
    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    return predictor


def predict(folder: Path, images: Path, output: Path, cases: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and probabilities of each case, predicted in this order."""
    output.mkdir()
    files = [[str(images / f"{case}_{channel:04d}.nii.gz") for channel in range(4)] for case in cases]
    with contextlib.redirect_stdout(io.StringIO()):
        predictor_of(folder).predict_from_files_sequential(
            files, [str(output / case) for case in cases], save_probabilities=True
        )
    return read(output)


def read(output: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        file.name.removesuffix(".nii.gz"): (
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))),
            np.load(output / file.name.replace(".nii.gz", ".npz"))["probabilities"],
        )
        for file in sorted(output.glob("*.nii.gz"))
    }


def assert_same(one, other):
    """The same voxels, of labels and of the probabilities below them."""
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:Duplicate name:UserWarning")
@every_network
def test_copies_of_a_model_and_any_order_of_files_give_the_same_labels(trainer_class, tmp_path, monkeypatch):
    model = write_model(trainer_class, tmp_path, monkeypatch)
    expected = predict(model.folder, model.images, tmp_path / "expected", "ab")
    assert all(np.ptp(probabilities) > 0 for _, probabilities in expected.values())

    reordered = predict(model.folder, model.images, tmp_path / "reordered", "ba")
    for case in "ab":
        assert_same(reordered[case], expected[case])

    strip_model(model.folder, tmp_path / "stripped")
    assert_same(predict(tmp_path / "stripped", model.images, tmp_path / "by_stripped", "a")["a"], expected["a"])

    # what --c does where the training has ended: load, train no epoch, write the final checkpoint again
    trainer = make_trainer(trainer_class, CASE, tmp_path, plans=plans_of_case(CASE))
    trainer.load_checkpoint(str(model.folder / "fold_0" / CHECKPOINT))
    assert trainer.current_epoch == trainer.num_epochs
    images, target = make_batch(trainer, CASE)
    trainer.dataloader_val = iter([{"data": images, "target": target}])  # some draw a picture of it
    trainer.on_train_end()
    assert_same(predict(model.folder, model.images, tmp_path / "by_continued", "a")["a"], expected["a"])

    archive, name, configuration = tmp_path / "model.zip", trainer_class.__name__, CASE.configuration
    with contextlib.redirect_stdout(io.StringIO()):
        export_pretrained_model("Dataset999_Case", str(archive), (configuration,), name, "nnUNetPlans", (0,))
    shutil.rmtree(tmp_path / "nnUNet_results")
    install_model_from_zip_file(str(archive))
    assert_same(predict(model.folder, model.images, tmp_path / "by_installed", "a")["a"], expected["a"])


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning", "ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # nnU-Net's normalization of zeros alone
@pytest.mark.parametrize("case", [CASE, FLAT], ids=["3d", "2d"])
@own_and_every_network
def test_cases_that_are_hardly_any_get_finite_probabilities(trainer_class, case, tmp_path, monkeypatch):
    predictor = predictor_of(write_model(trainer_class, tmp_path, monkeypatch, case).folder)
    generator = np.random.default_rng(1)
    cases = {
        "smaller than the patch": generator.uniform(1, 2, (4, 7, 9, 16)),
        "one slice": generator.uniform(1, 2, (4, 1, 16, 16)),
        "zeros": np.zeros((4, 16, 16, 16)),
    }
    for name, image in cases.items():
        with contextlib.redirect_stdout(io.StringIO()):
            labels, probabilities = predictor.predict_single_npy_array(
                image.astype(np.float32), {"spacing": [1.0, 1.0, 1.0]}, save_or_return_probabilities=True
            )
        assert labels.shape == image.shape[1:], name
        assert set(np.unique(labels)) <= {0, 1, 2, 3}, name
        assert probabilities.shape == (3, *image.shape[1:]), name
        assert np.isfinite(probabilities).all(), name
        assert probabilities.min() >= 0, name
        assert probabilities.max() <= 1, name


def only_voxel(target, voxel: bool):
    """The target with no foreground at all, or with one voxel in the first sample."""
    scales = target if isinstance(target, list) else [target]
    for scale in scales:
        scale.zero_()
        if voxel:
            scale[(0, slice(None), *(side // 2 for side in scale.shape[2:]))] = 1
    return target


@pytest.mark.parametrize("regions", [False, True], ids=["labels", "regions"])
@own_and_every_network
def test_training_on_hardly_any_foreground_stays_finite(trainer_class, regions, tmp_path):
    case = Case(regions=regions)
    trainer = make_trainer(trainer_class, case, tmp_path)
    images, target = make_batch(trainer, case)
    trainer.lr_scheduler.step(0)
    for voxel in (False, True):
        batch = {"data": images, "target": only_voxel(target, voxel)}
        trainer.network.train()
        assert math.isfinite(trainer.train_step(batch)["loss"])
        assert all(parameter.isfinite().all() for parameter in trainer.network.parameters())
        trainer.network.eval()
        with torch.no_grad():
            validation = trainer.validation_step(batch)
        assert math.isfinite(validation["loss"])
        found = validation["tp_hard"] + validation["fn_hard"]
        # as labels the one voxel is of the first class, as regions of all
        assert found.tolist() == [float(voxel), float(voxel and regions), float(voxel and regions)]


@own_and_every_trainer
def test_augmentation_of_hardly_any_foreground_stays_finite(trainer_class, tmp_path):
    trainer = make_trainer(trainer_class, Case(regions=True), tmp_path)
    size = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
    transforms = training_transforms(trainer)
    np.random.seed(0)
    torch.manual_seed(0)
    for voxel in (False, True):
        labels = torch.zeros(1, *size, dtype=torch.int16)
        if voxel:
            labels[(0, *(side // 2 for side in size))] = 3
        sample = transforms(image=torch.zeros(4, *size), segmentation=labels)
        assert sample["image"].isfinite().all()
        target = sample["segmentation"][0] if isinstance(sample["segmentation"], list) else sample["segmentation"]
        assert target.shape == (3, *Case().patch_size)
        assert set(torch.unique(target).tolist()) <= {0, 1}
        assert voxel or not target.any()


@pytest.mark.slow
@every_network
def test_one_and_several_worker_processes_give_the_same_labels(trainer_class, tmp_path, monkeypatch):
    several_processes(trainer_class, tmp_path, monkeypatch)


def test_one_and_several_worker_processes_of_modality_pairing_give_the_same_labels(tmp_path, monkeypatch):
    several_processes(ModalityPairingTrainer, tmp_path, monkeypatch)


def several_processes(trainer_class, tmp_path, monkeypatch):
    model = write_model(trainer_class, tmp_path, monkeypatch)
    expected = predict(model.folder, model.images, tmp_path / "expected", "ab")
    with contextlib.redirect_stdout(io.StringIO()):
        predictor_of(model.folder).predict_from_files(
            str(model.images),
            str(tmp_path / "several"),
            save_probabilities=True,
            num_processes_preprocessing=2,
            num_processes_segmentation_export=2,
        )
    several = read(tmp_path / "several")
    for case in "ab":
        assert_same(several[case], expected[case])
