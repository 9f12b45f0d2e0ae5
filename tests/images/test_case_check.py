"""What is wrong with the images of one case."""

import nibabel
import numpy as np
import pytest
from label_cases import write_image

from nnunet_ext.images.case_check import check_case

NAMES = ("T1", "T2")
DATASET = {"channel_names": dict(enumerate(NAMES)), "labels": {"background": 0}, "file_ending": ".nii.gz"}


def brain(seed=0):
    image = np.zeros((6, 7, 8), np.float32)
    image[1:5, 1:6, 1:7] = np.random.default_rng(seed).uniform(10, 100, (4, 5, 6))
    return image


@pytest.fixture
def files(tmp_path):
    for channel in range(2):
        write_image(tmp_path / f"a_{channel:04d}.nii.gz", brain(channel), spacing=(1, 1.5, 2))
    return {channel: tmp_path / f"a_{channel:04d}.nii.gz" for channel in range(2)}


def found(files, **options):
    return [(each.severity, each.kind) for each in check_case("a", files, DATASET, names=NAMES, **options).findings]


def test_sound_case_has_no_findings_and_is_described(files):
    check = check_case("a", files, DATASET, names=NAMES, reader="SimpleITKIO")
    assert check.findings == []
    assert check.grid.spacing == (2, 1.5, 1)
    values = brain(1)[brain(1) != 0]
    assert check.ranges[1] == pytest.approx(np.percentile(values, [0.5, 99.5]))
    assert sorted(check.shapes) == [0, 1]


def test_missing_channel_is_named(files):
    del files[1]
    findings = check_case("a", files, DATASET, names=NAMES).findings
    assert [each.kind for each in findings] == ["missing channel"]
    assert findings[0].message.endswith("a_0001.nii.gz: no such file; channel T2 is missing.")


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf")])
def test_values_that_are_not_finite_are_counted(files, value, word):
    image = brain()
    image[2, 3, 4:6] = value
    write_image(files[0], image, spacing=(1, 1.5, 2))
    findings = check_case("a", files, DATASET, names=NAMES).findings
    assert [each[:2] for each in findings] == [("error", "nan or inf")]
    assert f"2 of 336 voxels are {word}." in findings[0].message


def test_constant_image_is_an_error_unless_it_stands_for_a_missing_one(files):
    write_image(files[1], np.full((6, 7, 8), 3, np.float32), spacing=(1, 1.5, 2))
    assert found(files) == [("error", "constant")]
    assert found(files, filled=[1]) == []
    assert found(files, filled=[0]) == [("error", "constant")]


@pytest.mark.parametrize("change", [{"origin": (0, 0, 3)}, {"spacing": (1, 1.5, 2.1)}, {"array": brain()[1:]}])
def test_other_grid_than_that_of_the_first_channel(files, change):
    write_image(files[1], **{"array": brain(), "spacing": (1, 1.5, 2), **change})
    assert found(files) == [("error", "other grid")]


def slant(files):
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    affine[0, 1] = 0.2
    for file in files.values():
        nibabel.save(nibabel.Nifti1Image(brain().T, affine), file)


def test_slanted_axes_are_an_error_where_nnunets_reader_refuses_them_and_else_a_warning(files):
    slant(files)
    assert found(files, reader="SimpleITKIO") == [("error", "not orthogonal")] * 2
    assert found(files, reader="NibabelIO") == [("warning", "not orthogonal")] * 2
    message = check_case("a", files, DATASET, names=NAMES).findings[0].message
    assert f"miss right angles by {np.degrees(np.arctan(0.2 / 1.5)):.3g}°" in message


def test_broken_file_does_not_hide_the_others(files):
    files[0].write_bytes(files[0].read_bytes()[:-20])
    write_image(files[1], np.full((6, 7, 8), 3, np.float32))
    assert found(files) == [("error", "truncated"), ("error", "constant")]


def test_fourth_axis_and_missing_channel_are_both_told(files):
    nibabel.save(nibabel.Nifti1Image(np.stack([brain()] * 2, -1), np.eye(4)), files[0])
    del files[1]
    assert found(files) == [("error", "not 3-D"), ("error", "missing channel")]
