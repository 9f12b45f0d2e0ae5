"""Reading label images."""

import gzip
import re

import imageio.v3 as imageio
import numpy as np
import pytest
from label_cases import PLAIN_DATASET, tumour, write_image

from nnunet_ext.errors import InputError
from nnunet_ext.labels.label_image import read_label_image

PNG_DATASET = {**PLAIN_DATASET, "file_ending": ".png"}


def test_spacing_follows_the_axes_of_the_array(tmp_path):
    write_image(tmp_path / "a.nii.gz", tumour(), spacing=(1, 2, 3))
    image = read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET)
    assert image.spacing == (3, 2, 1)
    assert image.labels.shape == (10, 12, 14)
    np.testing.assert_array_equal(image.labels, tumour())


def test_two_dimensional_nifti_is_read_in_two_dimensions(tmp_path):
    write_image(tmp_path / "a.nii.gz", tumour()[4], spacing=(1, 2))
    image = read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET)
    assert (image.labels.shape, image.spacing) == ((12, 14), (2, 1))


def test_one_slice_stays_three_dimensional(tmp_path):
    write_image(tmp_path / "a.nii.gz", tumour()[4:5], spacing=(1, 1, 5))
    assert read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET).labels.shape == (1, 12, 14)


def test_png_has_no_affine(tmp_path):
    imageio.imwrite(tmp_path / "a.png", tumour()[4])
    image = read_label_image(tmp_path / "a.png", PNG_DATASET)
    assert (image.labels.shape, image.spacing, image.affine) == ((12, 14), (1, 1), None)


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    write_image(tmp_path / "a.nii.gz", tumour().astype(np.float32))
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET).labels, tumour())


@pytest.mark.parametrize("value", [0.5, -1, np.nan, np.inf])
def test_values_that_are_no_labels_raise(tmp_path, value):
    labels = tumour().astype(np.float32)
    labels[0, 0, 0] = value
    write_image(tmp_path / "a.nii.gz", labels)
    with pytest.raises(InputError, match=r"a\.nii\.gz: not a label image"):
        read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET)


def test_largest_label_is_read_as_it_is(tmp_path):
    labels = tumour().astype(np.int32)
    labels[0, 0, 0] = 65535
    write_image(tmp_path / "a.nii.gz", labels)
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET).labels, labels)


@pytest.mark.parametrize(("value", "shown"), [(65536, "65536"), (65537, "65537"), (1e30, r"1e\+30")])
def test_value_that_no_label_can_have_raises_instead_of_becoming_another(tmp_path, value, shown):
    labels = tumour().astype(np.float32)
    labels[0, 0, 0] = value
    write_image(tmp_path / "a.nii.gz", labels)
    with pytest.raises(InputError, match=rf"a\.nii\.gz: label value {shown} is above 65535"):
        read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "truncated or damaged"),
        (lambda data: data[:-4], "truncated or damaged"),
        (lambda data: b"no image", "truncated or damaged"),
        (lambda data: gzip.compress(b"no image"), "cannot be read"),
        (lambda data: b"", "cannot be read"),
    ],
)
def test_damaged_file_raises_with_its_name(tmp_path, damage, message):
    path = tmp_path / "a.nii.gz"
    write_image(path, tumour())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=re.escape(str(path)) + f": {message}"):
        read_label_image(path, PLAIN_DATASET)


def test_missing_file_raises(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET)
