"""Completed folders: what is written for a missing channel, by what nnU-Net's preprocessing makes of it."""

import json

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest
from label_cases import read_image, write_image
from model_folders import RESAMPLING
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError
from nnunet_ext.missing_modalities.complete import complete_folder
from nnunet_ext.missing_modalities.presence import read_presence
from nnunet_ext.testing import Case

CHANNELS = ("T1", "CT")
CT = {"mean": -37.3, "std": 11.7, "percentile_00_5": -90.0, "percentile_99_5": 60.0}


def dataset(*channels, ending=".nii.gz"):
    names = {str(index): name for index, name in enumerate(channels or CHANNELS)}
    return {"channel_names": names, "labels": {"background": 0, "lesion": 1}, "file_ending": ending}


def planned(schemes, use_mask):
    case = Case(channels=tuple(f"channel{index}" for index in range(len(schemes))))
    plans = case.plans
    changes = {"normalization_schemes": list(schemes), "use_mask_for_norm": [use_mask] * len(schemes)}
    plans["configurations"]["3d"].update(RESAMPLING, **changes, spacing=[1.5, 1.0, 0.8])
    plans["foreground_intensity_properties_per_channel"] = {str(index): CT for index in range(len(schemes))}
    return plans


def brain(seed=0, low=1, high=200):
    image = np.zeros((9, 10, 11), np.float32)
    image[2:8, 2:8, 2:9] = np.random.default_rng(seed).uniform(low, high, (6, 6, 7))
    return image


@pytest.mark.parametrize("use_mask", [True, False])
@pytest.mark.parametrize(
    "scheme",
    ["ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"],
)
def test_missing_channel_is_zero_and_present_one_unchanged_after_nnunets_preprocessing(tmp_path, scheme, use_mask):
    plans = planned(["ZScoreNormalization", scheme], use_mask)
    write_image(tmp_path / "in" / "a_0000.nii.gz", brain(), spacing=(1.0, 1.2, 1.4), origin=(5, -3, 2))
    write_image(tmp_path / "in" / "b_0000.nii.gz", brain(1))
    write_image(tmp_path / "in" / "b_0001.nii.gz", brain(2))
    complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "other"), plans, num_processes=1)
    manager = PlansManager(plans)
    files = [str(tmp_path / "out" / f"a_{channel:04d}.nii.gz") for channel in (0, 1)]
    run = DefaultPreprocessor(verbose=False).run_case
    data, _, _ = run(files, None, manager, manager.get_configuration("3d"), dataset("T1", "other"))
    assert not data[1].any()
    assert data[0].std() > 0.1


def test_files_that_are_there_are_links_or_byte_for_byte_copies(tmp_path):
    source = tmp_path / "in" / "a_0000.nii.gz"
    write_image(source, brain())
    complete_folder(tmp_path / "in", tmp_path / "linked", dataset("T1", "T2"), None, num_processes=1)
    complete_folder(tmp_path / "in", tmp_path / "copied", dataset("T1", "T2"), None, copy=True, num_processes=1)
    assert (tmp_path / "linked" / "a_0000.nii.gz").readlink() == source
    assert not (tmp_path / "copied" / "a_0000.nii.gz").is_symlink()
    assert (tmp_path / "copied" / "a_0000.nii.gz").read_bytes() == source.read_bytes()


def test_presence_is_told_and_stored(tmp_path):
    for name in ("a_0000", "a_0001", "b_0001"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", brain())
    done = complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)
    assert done.present == {"a": ("T1", "T2"), "b": ("T2",)}
    assert done.incomplete == {"b": ("T2",)}
    assert done.table.to_dict("index") == {"a": {"T1": True, "T2": True}, "b": {"T1": False, "T2": True}}
    assert read_presence(tmp_path / "out") == (["T1", "T2"], {"a": ["T1", "T2"], "b": ["T2"]})


def test_nifti_keeps_both_orientations_of_the_header(tmp_path):
    affine = np.array([[1, 0.2, 0, 4], [0, 1, 0, 5], [0, 0.1, 2, 6], [0, 0, 0, 1]], float)  # axes not orthogonal
    image = nibabel.Nifti1Image(np.ones((5, 6, 7), np.int16), affine)
    image.header.set_slope_inter(2, 3)
    image.set_sform(affine, code=1)
    image.set_qform(np.diag([1, 1, 2, 1]), code=2)
    (tmp_path / "in").mkdir()
    nibabel.save(image, tmp_path / "in" / "a_0000.nii.gz")
    complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)
    written = nibabel.load(tmp_path / "out" / "a_0001.nii.gz")
    np.testing.assert_allclose(written.get_sform(), affine, atol=1e-6)
    np.testing.assert_allclose(written.get_qform(), np.diag([1, 1, 2, 1]), atol=1e-6)
    assert not np.asarray(written.dataobj).any()


def test_two_dimensional_png_is_completed(tmp_path):
    (tmp_path / "in").mkdir()
    imageio.imwrite(tmp_path / "in" / "a_0001.png", np.full((8, 9), 7, np.uint8))
    complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2", ending=".png"), None, num_processes=1)
    assert (imageio.imread(tmp_path / "out" / "a_0000.png") == np.zeros((8, 9))).all()


def test_mha_is_completed_on_the_same_grid(tmp_path):
    write_image(tmp_path / "in" / "a_0000.mha", brain(), spacing=(1, 2, 3), origin=(4, 5, 6))
    plans = planned(["ZScoreNormalization", "CTNormalization"], False)
    complete_folder(tmp_path / "in", tmp_path / "out", dataset(ending=".mha"), plans, num_processes=1)
    assert (read_image(tmp_path / "out" / "a_0001.mha") == np.float32(CT["mean"])).all()


PROBLEMS = {
    "channel": (["a_0000", "a_0002"], "no channel 0002; it has 0000 T1, 0001 T2"),
    "name": (["a_0000", "b"], "not named CASE_XXXX.nii.gz"),
    "nothing": ([], "no files named CASE_XXXX.nii.gz"),
}


@pytest.mark.parametrize(("files", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_files_that_belong_to_no_channel_are_refused(tmp_path, files, message):
    (tmp_path / "in").mkdir()
    for name in files:
        write_image(tmp_path / "in" / f"{name}.nii.gz", brain())
    with pytest.raises(InputError, match=message):
        complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)
    assert not (tmp_path / "out").exists()


def test_image_of_another_format_is_not_lost_silently(tmp_path):
    write_image(tmp_path / "in" / "a_0000.nii.gz", brain())
    write_image(tmp_path / "in" / "b_0000.nii", brain())
    with pytest.raises(InputError, match=r"b_0000\.nii: not named"):
        complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)


def test_labelled_case_without_any_image_is_refused(tmp_path):
    write_image(tmp_path / "imagesTr" / "a_0000.nii.gz", brain())
    for case in "ab":
        write_image(tmp_path / "labelsTr" / f"{case}.nii.gz", brain())
    with pytest.raises(InputError, match="case b has labels in labelsTr and no image"):
        complete_folder(tmp_path / "imagesTr", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)


def test_other_grid_and_truncated_file_are_listed_together(tmp_path):
    write_image(tmp_path / "in" / "a_0000.nii.gz", brain())
    write_image(tmp_path / "in" / "a_0001.nii.gz", brain(), origin=(1, 0, 0))
    write_image(tmp_path / "in" / "b_0000.nii.gz", brain())
    damaged = tmp_path / "in" / "b_0000.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"(?s)a_0001\.nii\.gz: other affine.*as in a_0000.*b_0000\.nii\.gz: trunc"):
        complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)
    assert not (tmp_path / "out").exists()


def test_ct_before_planning_and_foreign_normalization_are_refused(tmp_path):
    write_image(tmp_path / "in" / "a_0000.nii.gz", brain())
    with pytest.raises(InputError, match="'CT' is normalized by the mean of the training data"):
        complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "CT"), None, num_processes=1)
    with pytest.raises(InputError, match="'other' is normalized by MyNormalization"):
        complete_folder(
            tmp_path / "in",
            tmp_path / "out",
            dataset("T1", "other"),
            planned(["ZScoreNormalization", "MyNormalization"], True),
            num_processes=1,
        )


def test_output_that_exists_is_not_touched(tmp_path):
    write_image(tmp_path / "in" / "a_0000.nii.gz", brain())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        complete_folder(tmp_path / "in", tmp_path / "out", dataset("T1", "T2"), None, num_processes=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_presence_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"modalities\.json is not there"):
        read_presence(tmp_path)
    (tmp_path / "modalities.json").write_text(json.dumps({"cases": []}))
    with pytest.raises(InputError, match="not written by"):
        read_presence(tmp_path)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("dataset.json", {"channel_names": None}),
        ("dataset.json", {"file_ending": 5}),
        ("plans.json", {"configurations": None}),
        ("plans.json", {"configurations": 5}),
    ],
)
def test_descriptions_of_another_shape_are_one_message(tmp_path, file, change):
    contents = {"dataset.json": dataset(), "plans.json": planned(["ZScoreNormalization"] * 2, True)}
    contents[file] |= change
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    write_image(tmp_path / "in" / "a_0000.nii.gz", brain())
    command = ["complete", str(tmp_path / "in"), str(tmp_path / "out"), "-m", str(tmp_path)]
    with pytest.raises(InputError, match=f"{file} has no {next(iter(change))}"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (tmp_path / "out").exists()
