"""Dice of a case under rules, against the rules themselves applied and scored one by one."""

import itertools

import numpy as np
import pytest
from label_cases import BRATS_DATASET, PLAIN_DATASET, tumour, write_dataset_json

from nnunet_ext.evaluation.case import evaluate_masks
from nnunet_ext.evaluation.lesions import LesionSettings
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.postprocessing.case import LesionScore, RuledCase
from nnunet_ext.postprocessing.rules import rules_for

STEPS = (0, 2, 3, 5, 10, 20, 400)
WITH_IGNORE = {**BRATS_DATASET, "labels": {**BRATS_DATASET["labels"], "ignore": 7}}


def expected_dice(reference, segmentation, labels, convention):
    scored = reference != labels.ignore_label
    return [
        evaluate_masks(
            region.mask(reference) & scored, region.mask(segmentation) & scored, (1, 1, 1), 1, convention, "pooled"
        )["dice"]
        for region in labels.regions
    ]


def random_pair(seed, values):
    """Label maps with many components."""
    generator = np.random.default_rng(seed)
    return [np.where(generator.random((6, 7, 8)) < 0.25, generator.choice(values, (6, 7, 8)), 0) for _ in range(2)]


@pytest.mark.parametrize(("content", "convention"), [(BRATS_DATASET, "brats2020"), (WITH_IGNORE, "nan")])
@pytest.mark.parametrize("erase", [False, True])
def test_every_sequence_scores_as_the_functions_do(tmp_path, content, convention, erase):
    labels = read_dataset_labels(write_dataset_json(tmp_path, content))
    reference, prediction = random_pair(0, [1, 2, 3])
    if labels.ignore_label:
        reference[:, 2] = labels.ignore_label
    rules = rules_for(labels, 6, erase_largest=erase)
    case = RuledCase(reference, prediction, rules, [STEPS] * 4, labels, convention)
    for first, second in itertools.product(range(len(STEPS)), [0, 3, 6]):
        segmentation = rules[2].apply(rules[0].apply(prediction, STEPS[first]), STEPS[second])
        for rule in (1, 3):
            curve = case.curve(rule, ((0, first), (2, second)))
            for step, scores in zip(STEPS, curve.scores, strict=True):
                result = rules[rule].apply(segmentation, step)
                np.testing.assert_allclose(scores, expected_dice(reference, result, labels, convention))


def test_plain_labels_with_gaps_between_values_are_scored(tmp_path):
    content = {**PLAIN_DATASET, "labels": {"background": 0, "a": 3, "b": 200}}
    labels = read_dataset_labels(write_dataset_json(tmp_path, content))
    reference, prediction = random_pair(1, [3, 200])
    (first, _) = rules = rules_for(labels, 26)
    curve = RuledCase(reference, prediction, rules, [STEPS] * 2, labels, "nan").curve(0)
    for step, scores in zip(STEPS, curve.scores, strict=True):
        np.testing.assert_allclose(scores, expected_dice(reference, first.apply(prediction, step), labels, "nan"))


def test_emptied_region_counts_as_the_convention_says(tmp_path):
    labels = read_dataset_labels(write_dataset_json(tmp_path))
    few = tumour(enhancing=False)
    few[5, 5, 4] = 3
    rules = rules_for(labels, 26)
    for convention, expected in (("brats2020", 1), ("brats2018", 1), ("nan", np.nan)):
        case = RuledCase(tumour(enhancing=False), few, rules, [(0, 5)] * 4, labels, convention)
        np.testing.assert_equal(case.curve(3).scores[:, 2], [0, expected])
        assert case.curve(3).num_removed.tolist() == [0, 1]


def test_a_state_is_computed_once(tmp_path, monkeypatch):
    labels = read_dataset_labels(write_dataset_json(tmp_path))
    rules = rules_for(labels, 26)
    case = RuledCase(tumour(), tumour(), rules, [STEPS] * 4, labels, "nan")
    first = case.curve(1)
    assert case.curve(1, ((0, 3),)) is first  # there is nothing small to remove


def test_lesion_scores_are_those_of_the_changed_image(tmp_path):
    labels = read_dataset_labels(write_dataset_json(tmp_path))
    rules, few = rules_for(labels, 26), tumour(1)
    few[9, 11, :6] = 3
    few[0, 0, 8:11] = 2
    score = LesionScore(LesionSettings("brats2023", "met"), labels, (1.0, 1.0, 1.0))
    case = RuledCase(tumour(), few, rules, [STEPS] * 4, labels, "nan", score)
    scores = case.curve(0).scores
    for index, threshold in enumerate(STEPS):
        changed = rules[0].apply(few, threshold) if threshold else few
        assert scores[index] == pytest.approx(score(tumour(), changed))
    assert len(np.unique(scores[:, 0])) > 1
    by_dice = RuledCase(tumour(), few, rules, [STEPS] * 4, labels, "nan")
    assert np.array_equal(case.curve(0).dice, by_dice.curve(0).scores)


def test_lesion_scores_leave_out_ignored_voxels_and_know_2d(tmp_path):
    content = {**PLAIN_DATASET, "labels": {"background": 0, "lesion": 1, "ignore": 2}}
    labels = read_dataset_labels(write_dataset_json(tmp_path, content))
    reference = np.zeros((1, 8, 8), np.uint8)
    reference[0, 1, 1] = reference[0, 2, 2] = 1  # at a corner: two lesions in 2d, one in 3d
    prediction = reference.copy()
    prediction[0, 2, 2] = 0
    prediction[0, 6, 6] = 1
    reference[0, 6, 6] = 2
    settings = LesionSettings("brats2025")
    assert LesionScore(settings, labels, (1.0, 1.0))(reference, prediction) == [(1 + 0) / 2]
    assert LesionScore(settings, labels, (1.0, 1.0, 1.0))(reference, prediction) == pytest.approx([2 / 3])
