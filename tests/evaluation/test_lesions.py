"""Lesion-wise scores: every rule by hand, and the challenges' tools on 93 pairs."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from mask_pairs import box

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.hausdorff import hd95
from nnunet_ext.evaluation.lesions import (
    TASKS,
    LesionPair,
    LesionSettings,
    brats2023_scores,
    brats2025_scores,
    detect,
    detection_counts,
    score_lesions,
)
from nnunet_ext.evaluation.surface_dice import surface_dice
from nnunet_ext.labels.dataset_labels import DatasetLabels, Region

SHAPE = (20, 20, 40)
EMPTY = np.zeros(SHAPE, dtype=bool)
GLI, MEN, MET = TASKS["gli"], TASKS["men"], TASKS["met"]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def cuboid(z, y, x, *size):
    """Mask with a cuboid at a corner; size in the order of the axes, 4x4x4 = 64 voxels if not given."""
    size = size or (4, 4, 4)
    return box(SHAPE, *((start, start + length) for start, length in zip((z, y, x), size, strict=True)))


def brats2023(reference, prediction, rules=GLI, spacing=(1, 1, 1)):
    return brats2023_scores(LesionPair(reference, prediction, spacing), rules)


def brats2025(reference, prediction, spacing=(1, 1, 1)):
    return brats2025_scores(LesionPair(reference, prediction, spacing))


def counts(scores):
    return scores["lesion_tp"], scores["lesion_fp"], scores["lesion_fn"]


class TestBraTS2023:
    def test_tasks_have_their_rules(self):
        assert {name: (rules.dilations, rules.max_ignored) for name, rules in TASKS.items()} == {
            "gli": (3, 50),
            "men": (1, 50),
            "met": (1, 2),
            "ped": (3, 50),
            "ssa": (3, 50),
        }

    def test_both_empty_is_perfect(self):
        assert brats2023(EMPTY, EMPTY) == {
            "lesion_dice": 1.0,
            "lesion_hd95": 0.0,
            "lesion_tp": 0,
            "lesion_fp": 0,
            "lesion_fn": 0,
        }

    def test_missed_lesion(self):
        scores = brats2023(cuboid(2, 2, 2), EMPTY)
        assert (scores["lesion_dice"], scores["lesion_hd95"]) == (0, 374)
        assert counts(scores) == (0, 0, 1)

    def test_surplus_of_one_voxel_counts_as_a_lesion(self):
        # One perfect lesion and one voxel: (1 + 0) / 2, (0 + 374) / 2; surplus has no smallest size.
        reference = cuboid(2, 2, 2)
        scores = brats2023(reference, reference | cuboid(15, 15, 35, 1, 1, 1))
        assert (scores["lesion_dice"], scores["lesion_hd95"]) == (0.5, 187)
        assert counts(scores) == (1, 1, 0)

    def test_only_surplus(self):
        scores = brats2023(EMPTY, cuboid(2, 2, 2) | cuboid(15, 15, 35))
        assert (scores["lesion_dice"], scores["lesion_hd95"]) == (0, 374)
        assert counts(scores) == (0, 2, 0)

    @pytest.mark.parametrize(("voxels", "missed"), [(50, 0), (51, 1)])
    def test_lesions_of_at_most_50_voxels_leave_the_mean(self, voxels, missed):
        small = np.zeros(SHAPE, dtype=bool)
        small[12:14, 12:17, 30:35] = True  # 50
        if voxels == 51:
            small[14, 12, 30] = True
        assert small.sum() == voxels
        reference = cuboid(2, 2, 2)
        scores = brats2023(reference | small, reference)
        assert scores["lesion_dice"] == 1 / (1 + missed)
        assert scores["lesion_hd95"] == 374 * missed / (1 + missed)
        assert counts(scores) == (1, 0, missed)

    @pytest.mark.parametrize(("length", "missed"), [(2, 0), (3, 1)])
    def test_metastases_of_at_most_2_voxels_leave_the_mean(self, length, missed):
        scores = brats2023(cuboid(2, 2, 2, 1, 1, length), EMPTY, MET)
        assert counts(scores) == (0, 0, missed)
        assert scores["lesion_dice"] == 1 - missed

    def test_smallest_size_is_in_mm3(self):
        # 30 voxels of 2 mm³ are 60 mm³ and count, 25 are 50 mm³ and do not.
        assert counts(brats2023(cuboid(2, 2, 2, 2, 3, 5), EMPTY, spacing=(2, 1, 1))) == (0, 0, 1)
        assert counts(brats2023(cuboid(2, 2, 2, 1, 5, 5), EMPTY, spacing=(2, 1, 1))) == (0, 0, 0)

    def test_prediction_of_a_small_lesion_is_not_surplus(self):
        small = cuboid(2, 2, 2, 2, 2, 2)
        scores = brats2023(small, small)
        assert counts(scores) == (0, 0, 0)
        assert (scores["lesion_dice"], scores["lesion_hd95"]) == (1, 0)

    def test_lesion_split_by_the_prediction_has_all_parts(self):
        # 4x4x10 = 160 voxels, predicted but for the two middle columns: 128 in two parts. 2*128 / (160 + 128)
        reference = cuboid(4, 4, 4, 4, 4, 10)
        prediction = cuboid(4, 4, 4) | cuboid(4, 4, 10)
        scores = brats2023(reference, prediction)
        assert scores["lesion_dice"] == pytest.approx(256 / 288)
        assert scores["lesion_hd95"] == pytest.approx(hd95(reference, prediction, (1, 1, 1), "directed"))
        assert counts(scores) == (1, 0, 0)

    def test_two_lesions_bridged_by_dilation_are_one(self):
        # Two cubes of 64 with 6 voxels between them: three dilations from each side touch, one does not.
        reference = cuboid(8, 8, 4) | cuboid(8, 8, 14)
        prediction = cuboid(8, 8, 4)
        scores = brats2023(reference, prediction)
        assert scores["lesion_dice"] == pytest.approx(2 * 64 / (128 + 64))  # undilated voxels
        assert counts(scores) == (1, 0, 0)
        assert counts(brats2023(reference, prediction, MEN)) == (1, 0, 1)
        apart = cuboid(8, 8, 4) | cuboid(8, 8, 15)  # 7 between them leave one
        scores = brats2023(apart, prediction)
        assert scores["lesion_dice"] == pytest.approx((1 + 0) / 2)
        assert counts(scores) == (1, 0, 1)

    def test_prediction_that_touches_the_dilated_lesion_belongs_to_it(self):
        # The lesion ends at column 7, the dilated one at 10. At 10: no common voxel, so Dice 0, but a HD95 of its own
        # in place of the penalty, and no surplus.
        reference, prediction = cuboid(8, 8, 4), cuboid(8, 8, 10)
        scores = brats2023(reference, prediction)
        assert scores["lesion_dice"] == 0
        assert scores["lesion_hd95"] == hd95(reference, prediction, (1, 1, 1), "directed")
        assert scores["lesion_hd95"] < 10
        assert counts(scores) == (1, 0, 0)
        assert counts(brats2023(reference, prediction, MEN)) == (0, 1, 1)
        assert counts(brats2023(reference, cuboid(8, 8, 11))) == (0, 1, 1)

    def test_prediction_that_touches_two_lesions_counts_for_both(self):
        # Cubes of 64, 7 apart, and a bar of 4x4x15 = 240 over both and between: each 2*64 / (64 + 240)
        reference = cuboid(8, 8, 4) | cuboid(8, 8, 15)
        bar = cuboid(8, 8, 4, 4, 4, 15)
        scores = brats2023(reference, bar)
        assert scores["lesion_dice"] == pytest.approx(128 / 304)
        first = hd95(cuboid(8, 8, 4), bar, (1, 1, 1), "directed")
        second = hd95(cuboid(8, 8, 15), bar, (1, 1, 1), "directed")
        assert scores["lesion_hd95"] == pytest.approx((first + second) / 2)
        assert counts(scores) == (2, 0, 0)

    def test_distances_are_in_mm(self):
        reference, prediction = cuboid(4, 4, 4), cuboid(5, 4, 4)
        spacing = (5.0, 1.0, 0.5)
        scores = brats2023(reference, prediction, MEN, spacing)
        assert scores["lesion_hd95"] == pytest.approx(hd95(reference, prediction, spacing, "directed"))
        assert scores["lesion_hd95"] == 5

    def test_2d_is_a_single_slice(self):
        # Rows of 3x20 = 60 mm²; the plane's 8 neighbours. Six rows between them: bridged.
        reference, prediction = np.zeros((30, 30), dtype=bool), np.zeros((30, 30), dtype=bool)
        reference[3:6, 3:23] = reference[12:15, 3:23] = True
        prediction[3:6, 3:23] = True
        scores = brats2023(reference, prediction, spacing=(1, 1))
        assert scores["lesion_dice"] == pytest.approx(2 * 60 / (120 + 60))
        assert scores["lesion_hd95"] == pytest.approx(hd95(reference, prediction, (1, 1), "directed"))
        assert counts(brats2023(reference, prediction, MEN, (1, 1))) == (1, 0, 1)

    def test_lesions_at_the_border_of_the_image(self):
        reference = cuboid(0, 0, 0) | cuboid(16, 16, 36)
        scores = brats2023(reference, reference)
        assert (scores["lesion_dice"], scores["lesion_hd95"]) == (1, 0)
        assert counts(scores) == (2, 0, 0)


class TestBraTS2025:
    def test_both_empty_has_no_value(self):
        scores = brats2025(EMPTY, EMPTY)
        assert counts(scores) == (0, 0, 0)
        assert all(math.isnan(value) for name, value in scores.items() if name.endswith(("dice", "nsd", "hd95")))

    @pytest.mark.parametrize("sides", [(EMPTY, cuboid(2, 2, 2)), (cuboid(2, 2, 2), EMPTY)])
    def test_one_empty_side(self, sides):
        scores = brats2025(*sides)
        for prefix in ("lesion", "matched_lesion"):
            assert [scores[f"{prefix}_{metric}"] for metric in ("dice", "nsd", "hd95")] == [0, 0, 373]

    def test_missed_and_surplus_lesions_count(self):
        # One perfect, one missed, one surplus voxel: (1 + 0 + 0) / 3 and (0 + 373 + 373) / 3; matched alone 1 and 0
        reference = cuboid(2, 2, 2) | cuboid(2, 2, 20)
        scores = brats2025(reference, cuboid(2, 2, 2) | cuboid(15, 15, 35, 1, 1, 1))
        assert [scores[f"lesion_{metric}"] for metric in ("dice", "nsd", "hd95")] == pytest.approx(
            [1 / 3, 1 / 3, 2 * 373 / 3]
        )
        assert [scores[f"matched_lesion_{metric}"] for metric in ("dice", "nsd", "hd95")] == [1, 1, 0]
        assert counts(scores) == (1, 1, 1)

    def test_no_dilation_and_no_smallest_size(self):
        # Two voxels, one of them predicted: nothing is bridged or ignored.
        reference = cuboid(2, 2, 2, 1, 1, 1) | cuboid(2, 2, 4, 1, 1, 1)
        scores = brats2025(reference, cuboid(2, 2, 2, 1, 1, 1))
        assert scores["lesion_dice"] == 0.5
        assert counts(scores) == (1, 0, 1)

    def test_split_lesion_has_one_part_and_the_other_is_surplus(self):
        # 160 voxels; the part of 4x4x4 = 64 and that of 4x4x3 = 48: the larger is matched, 2*64 / (160 + 64)
        prediction = cuboid(4, 4, 4) | cuboid(4, 4, 11, 4, 4, 3)
        scores = brats2025(cuboid(4, 4, 4, 4, 4, 10), prediction)
        assert scores["lesion_dice"] == pytest.approx((128 / 224 + 0) / 2)
        assert scores["matched_lesion_dice"] == pytest.approx(128 / 224)
        assert counts(scores) == (1, 1, 0)

    def test_prediction_that_touches_two_lesions_is_matched_to_one(self):
        # Over a cube of 64 and one of 4x4x3 = 48 lies a bar of 4x4x14 = 224: the better pair is 2*64 / (64 + 224)
        scores = brats2025(cuboid(8, 8, 4) | cuboid(8, 8, 15, 4, 4, 3), cuboid(8, 8, 4, 4, 4, 14))
        assert scores["lesion_dice"] == pytest.approx((128 / 288 + 0) / 2)
        assert counts(scores) == (1, 0, 1)

    def test_hd95_is_pooled_and_surface_dice_by_voxels_within_the_smallest_spacing(self):
        reference, prediction = cuboid(4, 4, 4), cuboid(5, 4, 4, 4, 6, 4)
        spacing = (3.0, 1.5, 2.0)
        scores = brats2025(reference, prediction, spacing)
        assert scores["lesion_hd95"] == pytest.approx(hd95(reference, prediction, spacing, "pooled"))
        assert scores["lesion_nsd"] == pytest.approx(surface_dice(reference, prediction, spacing, 1.5)[1])
        assert scores["lesion_nsd"] != surface_dice(reference, prediction, spacing, 3.0)[1]

    def test_2d_components_are_those_by_sides(self):
        # Two pixels at a corner: panoptica takes 4 neighbours in 2d, but 26 in 3d.
        diagonal = np.eye(2, dtype=bool)
        assert counts(brats2025(diagonal, diagonal, (1, 1))) == (2, 0, 0)
        assert counts(brats2025(diagonal[None], diagonal[None])) == (1, 0, 0)


class TestDetection:
    REFERENCE = cuboid(2, 2, 2) | cuboid(2, 2, 20) | cuboid(12, 12, 2, 1, 1, 2)
    # the first by half (Dice 2*32 / (64 + 32)), the second missed, the third whole, two surplus: 8 voxels and 1
    PREDICTION = cuboid(2, 2, 2, 2, 4, 4) | REFERENCE & cuboid(12, 12, 2) | cuboid(12, 12, 30, 2, 2, 2)
    PREDICTION[18, 18, 20] = True

    def kinds(self, **options):
        return [lesion.kind for lesion in detect(LesionPair(self.REFERENCE, self.PREDICTION, (1, 1, 2)), **options)]

    def test_lesions_and_their_volumes(self):
        lesions = detect(LesionPair(self.REFERENCE, self.PREDICTION, (1, 1, 2)))
        assert [(x.kind, x.volume, x.predicted_volume, x.dice) for x in lesions] == [
            ("found", 128, 64, pytest.approx(64 / 96)),
            ("missed", 128, 0, 0),
            ("found", 4, 4, 1),
            ("surplus", 16, 16, 0),
            ("surplus", 2, 2, 0),
        ]

    def test_counts(self):
        # 2 found, 1 missed, 2 surplus: F1 = 4 / (4 + 1 + 2)
        assert detection_counts(self.kinds()) == {
            "lesions_found": 2,
            "lesions_missed": 1,
            "lesions_surplus": 2,
            "lesion_f1": pytest.approx(4 / 7),
            "lesion_sensitivity": pytest.approx(2 / 3),
            "lesion_precision": pytest.approx(2 / 4),
        }

    def test_pair_below_match_dice_is_missed_and_surplus(self):
        assert self.kinds(match_dice=2 / 3).count("found") == 2
        kinds = self.kinds(match_dice=0.67)
        assert (kinds.count("found"), kinds.count("missed"), kinds.count("surplus")) == (1, 2, 3)

    def test_smaller_lesions_are_left_out_on_both_sides(self):
        assert self.kinds(min_lesion_mm3=4) == ["found", "missed", "found", "surplus"]
        assert self.kinds(min_lesion_mm3=4.1) == ["found", "missed", "surplus"]  # its match is not surplus

    def test_nothing_to_find_has_no_value(self):
        found = detection_counts([])
        assert all(math.isnan(found[name]) for name in ("lesion_f1", "lesion_sensitivity", "lesion_precision"))
        assert detection_counts(["surplus"])["lesion_f1"] == 0


def test_every_definition_has_its_columns_and_detection():
    reference = cuboid(2, 2, 2)
    names = {}
    for settings in (LesionSettings("brats2023", "met"), LesionSettings("brats2025"), LesionSettings("detection")):
        metrics, lesions = score_lesions(reference, reference, (1, 1, 1), settings)
        names[metrics["lesions"]] = "lesion_dice" in metrics, "lesion_nsd" in metrics
        assert metrics["lesions_found"] == 1
        assert [lesion.kind for lesion in lesions] == ["found"]
    assert names == {"brats2023 met": (True, False), "brats2025": (True, True), "detection": (False, False)}


def test_official_counts_do_not_depend_on_the_options_of_detection():
    settings = LesionSettings("brats2025", match_dice=0.9, min_lesion_mm3=1000)
    metrics, lesions = score_lesions(cuboid(2, 2, 2), cuboid(2, 2, 3), (1, 1, 1), settings)
    assert metrics["lesion_tp"] == 1
    assert metrics["lesions_found"] == 0
    assert lesions == []


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["whole tumor", "tumor core", "enhancing tumor"], "gli"),
        (["enhancing tumor", "non-enhancing tumor", "cystic component", "edema"], "ped"),
        (["ET", "NET", "CC", "ED"], "ped"),
        (["GTV"], "men"),
        (["GTV", "oedema"], "gli"),
        (["lesion"], "gli"),
    ],
)
def test_default_task_follows_the_regions(names, task):
    labels = DatasetLabels(tuple(Region(name, (i + 1,)) for i, name in enumerate(names)), None, ".nii.gz", {})
    assert LesionSettings("brats2023").of_dataset(labels).task == task
    assert LesionSettings("brats2023", "met").of_dataset(labels).task == "met"
    assert LesionSettings("brats2025").of_dataset(labels).task is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"definition": "brats2020"}, "there are brats2023, brats2025, detection"),
        ({"definition": "brats2023", "task": "ms"}, "there are gli, men, met, ped, ssa"),
        ({"definition": "brats2025", "task": "met"}, "leave it out"),
        ({"definition": "detection", "match_dice": 0}, "above 0"),
        ({"definition": "detection", "match_dice": 1.1}, "at most 1"),
        ({"definition": "detection", "min_lesion_mm3": -1}, "0 mm³ or more"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        LesionSettings(**values)


@pytest.fixture(scope="module")
def stored():
    """The module that made the pairs, and the pairs with the tools' values."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import lesion_scores
    finally:
        sys.path.remove(str(BENCHMARKS))
    return lesion_scores, json.loads((BENCHMARKS / "results" / "lesion_tools.json").read_text())["cases"]


def stored_pairs(stored):
    module, cases = stored
    for case in cases:
        sides = [module.label_map(case["shape"], case[side]) for side in ("reference", "prediction")]
        for region, labels in module.REGIONS.items():
            yield case, region, [np.isin(side, labels) for side in sides]


def test_agrees_with_the_tool_of_2023_and_2024(stored):
    num_values = 0
    for case, region, masks in stored_pairs(stored):
        for task, expected in case["brats2023"].items():
            assert brats2023(*masks, TASKS[task]) == pytest.approx(expected[region], abs=1e-9)
            num_values += len(expected[region])
    assert num_values == 93 * 3 * 3 * 5


def test_agrees_with_panoptica(stored):
    for case, region, masks in stored_pairs(stored):
        expected = {name: math.nan if value is None else value for name, value in case["brats2025"][region].items()}
        whole = {metric: expected.pop(f"whole_{metric}") for metric in ("dice", "nsd", "hd95")}
        assert brats2025(*masks) == pytest.approx(expected, abs=1e-9, nan_ok=True)
        if masks[0].any() and masks[1].any():
            # For whole masks panoptica has no spacing at hand and takes half a voxel.
            assert surface_dice(*masks, (1, 1, 1), 0.5)[1] == pytest.approx(whole["nsd"], abs=1e-9)
