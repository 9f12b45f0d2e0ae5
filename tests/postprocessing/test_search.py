"""Search for thresholds."""

import numpy as np
import pytest
from label_cases import BRATS_DATASET, PLAIN_DATASET, tumour, write_dataset_json

from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.postprocessing.search import choose, rules_for, search

# tumour() has 18 enhancing voxels, 100 in the core and 294 in the whole tumour


@pytest.fixture
def labels(tmp_path):
    return read_dataset_labels(write_dataset_json(tmp_path))


def test_rules_leave_the_regions_around_unchanged(labels):
    rules = rules_for(labels, 26)
    described = [(rule.function.__name__, rule.region.name, rule.kwargs["replacement"]) for rule in rules]
    assert described == [
        ("remove_small_components", "whole tumor", 0),
        ("remove_small_components", "tumor core", 2),
        ("remove_small_components", "enhancing tumor", 1),
        ("replace_small_region", "enhancing tumor", 1),
    ]


def test_plain_labels_are_replaced_only_when_asked(tmp_path):
    labels = read_dataset_labels(write_dataset_json(tmp_path, PLAIN_DATASET))
    assert [rule.function.__name__ for rule in rules_for(labels, 26)] == ["remove_small_components"]
    assert rules_for(labels, 26, {"lesion": 0})[-1].kwargs == {"region": (1,), "replacement": 0}


@pytest.mark.parametrize(
    ("scores", "best", "plateau"),
    [
        ([0.5, 0.6, 0.5, 0.5, 0.5, 0.5], 2, (2, 2)),
        ([0.5, 0.6, 0.6, 0.6, 0.5, 0.5], 3, (2, 5)),
        ([0.5, 0.6, 0.6, 0.6, 0.6, 0.5], 3, (2, 7)),
        ([0.5, 0.6, 0.5, 0.6, 0.6, 0.6], 7, (5, 10)),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], None, None),
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4], None, None),
        ([0.5, 0.5 + 1e-12, 0.4, 0.4, 0.4, 0.4], None, None),
    ],
)
def test_threshold_is_the_middle_of_the_longest_best_plateau(scores, best, plateau):
    assert choose((0, 2, 3, 5, 7, 10), np.array(scores)) == (best, plateau)


def curve(labels, pairs, convention="brats2020", rule=3):
    return search(rules_for(labels, 26)[rule], pairs, labels, convention, (5, 10, 15, 20, 50))


def test_false_enhancing_tumour_is_replaced_where_it_is_small(labels):
    without = tumour(enhancing=False)
    few = without.copy()
    few[5, 5, 4:7] = 3
    found = curve(labels, [(without, few), (tumour(), tumour())])
    np.testing.assert_allclose(found.region_scores[:, 2], [0.5, 1, 1, 1, 0.5, 0.5])
    assert (found.best, found.plateau, found.cases_changed) == (10, (5, 15), (0, 1, 1, 1, 2, 2))
    assert found.scores[0] == pytest.approx((1 + 1 + 0.5) / 3)


def test_threshold_that_does_not_improve_is_refused(labels):
    found = curve(labels, [(tumour(), tumour())])
    assert (found.best, found.plateau) == (None, None)


@pytest.mark.parametrize(
    ("convention", "expected"), [("brats2020", [0.5, 1.0]), ("nan", [0.5, 1.0]), ("brats2018", [0.5, 1.0])]
)
def test_emptied_case_counts_as_the_convention_says(labels, convention, expected):
    without = tumour(enhancing=False)
    few = without.copy()
    few[5, 5, 4] = 3
    found = curve(labels, [(without, few), (tumour(), tumour())], convention)
    assert found.region_scores[:2, 2].tolist() == expected


def test_component_outside_is_removed_and_counted_once(labels):
    noisy = tumour()
    noisy[9, 11, 11:13] = 2
    found = curve(labels, [(tumour(), noisy), (tumour(), tumour())], rule=0)
    assert found.best == 15
    assert found.region_scores[1, 0] == 1
    assert found.cases_changed[:3] == (0, 1, 1)


def test_ignored_voxels_do_not_count(tmp_path):
    content = {**BRATS_DATASET, "labels": {**BRATS_DATASET["labels"], "ignore": 4}}
    labels = read_dataset_labels(write_dataset_json(tmp_path, content))
    reference, noisy = tumour(), tumour()
    reference[9] = 4
    noisy[9, 11, 11] = 2
    assert curve(labels, [(reference, noisy)], rule=0).scores[0] == 1
