"""Labels of a dataset.json."""

import json

import numpy as np
import pytest
from label_cases import BRATS_DATASET, PLAIN_DATASET

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.conventions import default_convention
from nnunet_ext.labels.dataset_labels import Region, brats_regions, find_dataset_json, read_dataset_labels


def read(tmp_path, content):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    return read_dataset_labels(path)


def test_regions_keep_their_order_without_the_background(tmp_path):
    labels = read(tmp_path, BRATS_DATASET)
    assert [region.labels for region in labels.regions] == [(1, 2, 3), (1, 3), (3,)]
    assert labels.values == {0, 1, 2, 3}


def test_ignore_label_is_no_region(tmp_path):
    labels = read(tmp_path, {**PLAIN_DATASET, "labels": {"background": 0, "lesion": 1, "ignore": 2}})
    assert (labels.ignore_label, [region.name for region in labels.regions]) == (2, ["lesion"])


def test_mask_of_a_region_is_the_union_of_its_labels():
    np.testing.assert_array_equal(Region("core", (1, 3)).mask(np.arange(5)), [False, True, False, True, False])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("whole tumor", "tumor core", "enhancing tumor"), "brats2020"),
        (("Whole_Tumour", "Tumour-Core", "Enhancing Tumour"), "brats2020"),
        (("WT", "TC", "ET"), "brats2020"),
        (("liver", "vessel", "tumor"), "nan"),
    ],
)
def test_default_convention_is_that_of_brats_for_its_regions_alone(tmp_path, names, expected):
    values = ([1, 2, 3], [1, 3], [3])
    content = {**BRATS_DATASET, "labels": {"background": 0, **dict(zip(names, values, strict=True))}}
    labels = read(tmp_path, content)
    assert default_convention(labels) == expected
    if expected == "brats2020":
        assert [region.labels for region in brats_regions(labels).values()] == [(1, 2, 3), (1, 3), (3,)]


def test_plain_labels_with_brats_names_are_no_regions(tmp_path):
    content = {**PLAIN_DATASET, "labels": {"background": 0, "WT": 1, "TC": 2, "ET": 3}}
    labels = read(tmp_path, content)
    assert default_convention(labels) == "nan"
    with pytest.raises(InputError, match="three BraTS regions"):
        brats_regions(labels)


@pytest.mark.parametrize("content", [[], {}, {"labels": [0, 1], "file_ending": ".nii.gz"}, {"labels": {"a": "b"}}])
def test_malformed_dataset_json_raises_with_its_name(tmp_path, content):
    with pytest.raises(InputError, match=r"dataset\.json: not a dataset\.json"):
        read(tmp_path, content)


def test_dataset_json_is_found_beside_and_above(tmp_path):
    folder = tmp_path / "model" / "fold_0" / "validation"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match="--dataset-json"):
        find_dataset_json([folder])
    (tmp_path / "model" / "dataset.json").touch()
    assert find_dataset_json([tmp_path / "nowhere", folder]) == tmp_path / "model" / "dataset.json"
