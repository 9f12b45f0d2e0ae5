"""Rules that are tried."""

import numpy as np
import pytest
from label_cases import PLAIN_DATASET, tumour, write_dataset_json

from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.postprocessing.rules import rules_for


@pytest.fixture
def labels(tmp_path):
    return read_dataset_labels(write_dataset_json(tmp_path))


def test_rules_leave_the_regions_around_unchanged(labels):
    described = [(rule.name, rule.kwargs["replacement"]) for rule in rules_for(labels, 26)]
    assert described == [
        ("remove_small_components (whole tumor)", 0),
        ("remove_small_components (tumor core)", 2),
        ("remove_small_components (enhancing tumor)", 1),
        ("replace_small_region (enhancing tumor)", 1),
    ]


def test_plain_labels_are_replaced_only_when_asked(tmp_path):
    labels = read_dataset_labels(write_dataset_json(tmp_path, PLAIN_DATASET))
    assert [rule.function.__name__ for rule in rules_for(labels, 26)] == ["remove_small_components"]
    assert rules_for(labels, 26, {"lesion": 0})[-1].kwargs == {"region": (1,), "replacement": 0}


def test_largest_component_is_removed_only_when_asked(labels):
    noisy = tumour()
    noisy[9, 11, 11:13] = 2
    keeping, erasing = (rules_for(labels, 26, erase_largest=erase)[0] for erase in (False, True))
    assert keeping.removable_sizes(noisy).tolist() == [2]
    assert erasing.removable_sizes(noisy).tolist() == [2, 294]
    np.testing.assert_array_equal(keeping.apply(noisy, 10**6), tumour())
    assert not erasing.apply(noisy, 10**6).any()


@pytest.mark.parametrize("rule", range(4))
def test_nothing_can_be_removed_from_an_empty_image(labels, rule):
    empty = np.zeros((3, 3, 3), dtype=np.uint8)
    assert len(rules_for(labels, 26)[rule].removable_sizes(empty)) == 0
    assert not rules_for(labels, 26)[rule].apply(empty, 5).any()
