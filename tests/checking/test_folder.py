"""``nnunet_ext check``, as it is typed: table, JSON, exit code, and nothing written."""

import json
import shutil

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest
from label_cases import read_image, write_image
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.datasets.phantom import write_phantom_dataset
from nnunet_ext.errors import UserError

NAME = "Dataset999_Phantom"
FINGERPRINT = {
    "spacings": [[2.0, 1.5, 1.5]] * 5,
    "foreground_intensity_properties_per_channel": {
        str(channel): {"percentile_00_5": 150.0, "percentile_99_5": 1100.0} for channel in range(4)
    },
}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    write_phantom_dataset(root / NAME, num_cases=5, shape=(20, 24, 20), num_test_cases=2)
    return root / NAME


@pytest.fixture
def workspace(phantom, tmp_path, monkeypatch):
    """nnU-Net's folders with the phantom, planned."""
    shutil.copytree(phantom, tmp_path / "raw" / NAME)
    (tmp_path / "preprocessed" / NAME).mkdir(parents=True)
    (tmp_path / "preprocessed" / NAME / "dataset_fingerprint.json").write_text(json.dumps(FINGERPRINT))
    for name in ("raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def run(folder, *options):
    return CliRunner().invoke(app, ["check", str(folder), *map(str, options), "-np", "1"], catch_exceptions=False)


def findings(folder, *options):
    result = run(folder, *options, "--json")
    return result.exit_code, [
        (each["case"], each["severity"], each["kind"]) for each in json.loads(result.stdout)["findings"]
    ]


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_sound_images_pass_and_nothing_is_written(workspace):
    before = state(workspace)
    for images in ("imagesTr", "imagesTs"):
        result = run(workspace / "raw" / NAME / images, "-d", 999)
        assert result.exit_code == 0
        assert "0 errors, 0 warnings." in result.output
        assert "Note" not in result.output
    assert state(workspace) == before


def test_every_mistake_is_told_for_its_case(workspace):
    images = workspace / "raw" / NAME / "imagesTr"
    files = {(case, c): images / f"phantom_tr{case:03d}_{c:04d}.nii.gz" for case in range(5) for c in range(4)}
    files[0, 1].write_bytes(files[0, 1].read_bytes()[:-30])
    broken = read_image(files[1, 2]).astype(np.float32)
    broken[3, 3, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(broken.T, nibabel.load(files[1, 2]).affine), files[1, 2])
    files[2, 3].unlink()
    files[3, 0].rename(images / "phantom_tr003_0004.nii.gz")
    exit_code, found = findings(images, "-d", "999")
    assert exit_code == 1
    assert found == [
        ("phantom_tr000", "error", "truncated"),
        ("phantom_tr001", "error", "nan or inf"),
        ("phantom_tr002", "error", "missing channel"),
        ("phantom_tr003", "error", "missing channel"),
        ("", "error", "surplus file"),
    ]
    table = run(images, "-d", "999").output
    assert "5 cases, 18 files" in table
    assert "phantom_tr002_0003.nii.gz: no such file; channel FLAIR is missing." in " ".join(table.split())


def test_swapped_channels_are_a_warning_and_with_strict_a_failure(workspace):
    images = workspace / "raw" / NAME / "imagesTs"
    first, second = (images / f"phantom_ts000_{channel:04d}.nii.gz" for channel in (0, 2))
    first.rename(images / "between")
    second.rename(first)
    (images / "between").rename(second)
    assert findings(images, "-d", "999") == (0, [("phantom_ts000", "warning", "swapped channels")])
    result = run(images, "-d", "999", "--strict")
    assert result.exit_code == 1
    assert "0000 (T1) looks like T2, 0002 (T2) looks like T1" in " ".join(result.output.split())


def test_swapped_channels_of_a_training_case_are_seen_among_the_others(workspace):
    images = workspace / "raw" / NAME / "imagesTr"
    first, second = (images / f"phantom_tr001_{channel:04d}.nii.gz" for channel in (0, 3))
    first.rename(images / "between")
    second.rename(first)
    (images / "between").rename(second)
    assert findings(images, "-d", "999")[1] == [("phantom_tr001", "warning", "swapped channels")]


def test_labels_of_training_cases_are_checked(workspace):
    labels = workspace / "raw" / NAME / "labelsTr"
    (labels / "phantom_tr000.nii.gz").unlink()
    write_image(labels / "phantom_tr001.nii.gz", np.full((20, 24, 20), 7, np.uint8), spacing=(1.5, 1.5, 2))
    shutil.copy(labels / "phantom_tr002.nii.gz", labels / "nobody.nii.gz")
    exit_code, found = findings(workspace / "raw" / NAME / "imagesTr", "-d", "999")
    assert exit_code == 1
    assert found == [
        ("phantom_tr000", "error", "labels"),
        ("phantom_tr001", "error", "labels"),
        ("phantom_tr001", "error", "other grid"),
        ("", "error", "no image"),
    ]


def test_model_is_described_by_what_nnunet_copies_into_its_folder(workspace, monkeypatch):
    model = workspace / "model"
    model.mkdir()
    shutil.copy(workspace / "raw" / NAME / "dataset.json", model)
    plans = {"dataset_name": NAME, "image_reader_writer": "SimpleITKIO"}
    (model / "plans.json").write_text(json.dumps(plans))
    narrow = json.loads(json.dumps(FINGERPRINT)) | {"spacings": [[5.0, 1.5, 1.5]]}
    (model / "dataset_fingerprint.json").write_text(json.dumps(narrow))
    images = workspace / "raw" / NAME / "imagesTs"
    assert findings(images, "-m", model) == (0, [(f"phantom_ts00{i}", "warning", "spacing") for i in range(2)])
    monkeypatch.delenv("nnUNet_raw")
    assert "swapped channels are seen only where" in run(images, "-m", model).output


def test_channels_that_complete_has_filled_are_no_mistake(workspace):
    images = workspace / "raw" / NAME / "imagesTs"
    (images / "phantom_ts001_0001.nii.gz").unlink()
    arguments = ["complete", str(images), str(workspace / "complete"), "-d", "999", "-np", "1"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert findings(workspace / "complete", "-d", "999") == (0, [])


def test_pictures_in_colours_have_all_channels_in_one_file(tmp_path, monkeypatch):
    folder = tmp_path / "raw" / "Dataset001_Roads"
    (folder / "imagesTs").mkdir(parents=True)
    names = {str(index): name for index, name in enumerate("RGB")}
    content = {"channel_names": names, "labels": {"background": 0, "road": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(content))
    picture = np.random.default_rng(0).integers(1, 255, (9, 8, 3)).astype(np.uint8)
    imageio.imwrite(folder / "imagesTs" / "a_0000.png", picture)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    assert findings(folder / "imagesTs", "-d", "1") == (0, [])
    imageio.imwrite(folder / "imagesTs" / "b_0000.png", picture[:, :, 0])
    imageio.imwrite(folder / "imagesTs" / "c_0001.png", picture)
    assert findings(folder / "imagesTs", "-d", "1") == (
        1,
        [("b", "error", "missing channel")] * 2
        + [("c", "error", "missing channel"), ("c", "error", "surplus channel")],
    )


def test_data_set_or_model_must_be_named(workspace):
    for options in ((), ("-d", "999", "-m", "model")):
        with pytest.raises(UserError, match="Give either the data set"):
            run(workspace, *options)
    (workspace / "empty").mkdir()
    with pytest.raises(UserError, match="no files named"):
        run(workspace / "empty", "-d", "999")
