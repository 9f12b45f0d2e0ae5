"""Determining post-processing, and nnU-Net applying it."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from label_cases import PLAIN_DATASET, read_image, tumour, write_dataset_json, write_folder, write_image

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.evaluate import evaluate_folders
from nnunet_ext.evaluation.lesions import LesionSettings
from nnunet_ext.postprocessing import remove_small_components, replace_small_region
from nnunet_ext.postprocessing.determine import _plot, determine_postprocessing
from nnunet_ext.testing import Case

WITHOUT = tumour(enhancing=False)


def few_enhancing():
    labels = WITHOUT.copy()
    labels[5, 5, 4:7] = 3
    return labels


def with_noise():
    labels = tumour()
    labels[9, 11, 11:13] = 1
    return labels


@pytest.fixture
def folders(tmp_path):
    """Predictions, references and the file to write."""
    write_dataset_json(tmp_path)
    wrong = {f"b{index}": with_noise() for index in range(3)} | {f"c{index}": few_enhancing() for index in range(3)}
    right = {f"b{index}": tumour() for index in range(3)} | {f"c{index}": WITHOUT for index in range(3)}
    predictions = write_folder(tmp_path / "pred", {"a": tumour(), **wrong})
    references = write_folder(tmp_path / "labelsTr", {"a": tumour(), **right})
    return predictions, references, tmp_path / "out" / "postprocessing.pkl"


def determine(folders, **kwargs):
    return determine_postprocessing(*folders, **{"num_processes": 1, "thresholds": (2, 5, 10, 15, 20), **kwargs})


def test_pickle_holds_the_functions_that_improve_cases_left_out(folders):
    result = determine(folders)
    functions, arguments = pickle.loads(folders[2].read_bytes())
    assert functions == [remove_small_components, replace_small_region]
    components = {"region": (1, 2, 3), "replacement": 0, "connectivity": 26, "min_voxels": 10, "keep_largest": True}
    assert arguments == [components, {"region": (3,), "replacement": 1, "min_voxels": 10}]
    assert (result.search.after, result.convention) == (1, "brats2020")
    assert result.search.before < 1
    assert result.search.held_out.mean == pytest.approx(1 - result.search.before)


def test_largest_component_is_erased_only_when_asked(folders):
    determine(folders, erase_largest=True)
    functions, arguments = pickle.loads(folders[2].read_bytes())
    assert functions == [remove_small_components, remove_small_components]
    assert arguments[1] == {
        "region": (3,), "replacement": 1, "connectivity": 26, "min_voxels": 10, "keep_largest": False
    }  # fmt: skip


def test_rules_can_be_searched_together(folders):
    result = determine(folders, joint=True)
    assert [curve.applied for curve in result.search.curves] == [True, False, False, True]
    assert result.search.after == 1


def test_without_thresholds_the_search_goes_as_far_as_there_are_components(folders):
    for index in range(3):
        large = np.zeros((10, 40, 40), dtype=np.uint8)
        large[:, :20] = 2
        wrong = large.copy()
        wrong[:, 30:, :20] = 2  # a component of 2000 voxels
        for folder, image in ((folders[0], wrong), (folders[1], large)):
            write_image(folder / f"d{index}.nii.gz", image)
    result = determine(folders, thresholds=None)
    whole = result.search.curves[0]
    assert (whole.thresholds[-1], whole.best, whole.applied) == (3000, 3000, True)
    assert result.warnings[0] == (
        "remove_small_components (whole tumor): from 3000 voxels on it keeps the largest component alone in every case."
    )
    description = json.loads(folders[2].with_suffix(".json").read_text())
    assert description["warnings"] == list(result.warnings)


def test_best_threshold_at_the_end_of_those_given_is_warned_about(folders):
    assert determine(folders, thresholds=(5, 20)).warnings[0] == (
        "remove_small_components (whole tumor): the best threshold is the first that was tried; try some below 5."
    )
    warnings = determine(folders, thresholds=(2, 3)).warnings
    assert "the best threshold is the last that was tried; try some above 3" in warnings[0]
    # 18 true enhancing voxels
    assert "close to a cliff. At 20 voxels" in " ".join(determine(folders, thresholds=(10, 15, 20)).warnings)


def test_one_case_alone_cannot_be_judged(folders):
    for folder in folders[:2]:
        for path in folder.glob("[bc]*"):
            path.unlink()
    with pytest.raises(InputError, match="at least two"):
        determine(folders)


def test_curves_and_description_are_written(folders):
    result = determine(folders)
    written = sorted(path.name for path in folders[2].parent.iterdir())
    names = ["postprocessing.json", "postprocessing.pkl", "postprocessing_curves.csv", "postprocessing_curves.png"]
    assert written == names
    description = json.loads(folders[2].with_suffix(".json").read_text())
    assert description["mean_dice_after"] == 1
    whole, core, enhancing, small = description["rules"]
    assert (whole["cases_changed"], whole["same_score_from_to"]) == (3, [5, 20])
    assert [rule["applied"] for rule in (whole, core, enhancing, small)] == [True, False, False, True]
    assert (whole["region"], whole["labels"]) == ("whole tumor", [1, 2, 3])
    assert (small["region"], small["labels"]) == ("enhancing tumor", [3])
    assert whole["in_sample_gain"] == pytest.approx(whole["mean_dice_at_best_threshold"] - whole["mean_dice_before"])
    assert whole["held_out_gain"]["low"] <= whole["held_out_gain"]["mean"] <= whole["held_out_gain"]["high"]
    assert whole["thresholds_with_one_case_left_out"] == {"10": 7}
    table = pd.read_csv(folders[2].parent / "postprocessing_curves.csv")
    assert len(table) == 4 * 6
    chosen = table[table["applied"]].iloc[0]
    assert chosen["mean_dice"] == pytest.approx(result.search.curves[0].scores.max())


def test_plot_has_a_panel_a_rule_and_no_other(folders):
    assert len(_plot(determine(folders)).axes) == 4


def test_score_is_that_of_the_evaluation(folders, tmp_path):
    for convention in ("brats2020", "nan"):
        summary = evaluate_folders(
            folders[1], folders[0], tmp_path / "eval", convention=convention, num_processes=1
        ).summary
        dice = [region["metrics"]["dice"]["mean"] for region in summary["regions"].values()]
        assert determine(folders, convention=convention).search.before == pytest.approx(np.mean(dice))


def test_perfect_predictions_get_no_postprocessing(folders):
    result = determine((folders[1], folders[1], folders[2]))
    assert result.chosen == []
    assert pickle.loads(folders[2].read_bytes()) == ([], [])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"convention": "none"}, "brats2020, brats2018, nan"),
        ({"connectivity": 8}, "6, 18 or 26"),
        ({"thresholds": (0, 5)}, "at least 1"),
        ({"replacements": {"liver": 1}}, "No region or label 'liver'"),
        ({"replacements": {"tumor core": 7}}, "cannot become 7"),
    ],
)
def test_unknown_choice_is_an_error(folders, kwargs, message):
    with pytest.raises(InputError, match=message):
        determine(folders, **kwargs)


def test_bad_files_are_all_named_and_nothing_is_written(folders):
    write_image(folders[0] / "a.nii.gz", tumour()[1:])
    (folders[1] / "b0.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"(?s)pred/a\.nii\.gz: shape.*labelsTr/b0\.nii\.gz: cannot be read"):
        determine(folders)
    assert not folders[2].parent.exists()


def test_two_dimensional_images_are_processed_as_nnunet_gives_them(folders):
    for folder in folders[:2]:
        for path in folder.iterdir():
            write_image(path, read_image(path)[5])
    assert determine(folders).search.after == 1


def test_stock_nnunet_applies_it(folders, tmp_path):
    determine(folders)
    (tmp_path / "plans.json").write_text(json.dumps(Case().plans))
    command = [
        Path(sys.executable).with_name("nnUNetv2_apply_postprocessing"),
        *("-i", folders[0], "-o", tmp_path / "final", "-pp_pkl_file", folders[2], "-np", "1"),
        *("-plans_json", tmp_path / "plans.json", "-dataset_json", tmp_path / "dataset.json"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    for path in folders[1].iterdir():
        np.testing.assert_array_equal(read_image(tmp_path / "final" / path.name), read_image(path))


@pytest.fixture
def lesions(tmp_path):
    """Three equal cases of a plain label: a large lesion, a small one, and a surplus component of twice its size."""
    write_dataset_json(tmp_path, PLAIN_DATASET)
    truth = np.zeros((12, 12, 30), dtype=np.uint8)
    truth[1:11, 1:11, 1:11] = 1  # 1000 voxels
    truth[2:4, 2:4, 20:22] = 1  # 8
    predicted = truth.copy()
    predicted[8:10, 8:10, 20:24] = 1  # 16
    references = write_folder(tmp_path / "labelsTr", dict.fromkeys("abc", truth))
    predictions = write_folder(tmp_path / "pred", dict.fromkeys("abc", predicted))
    return predictions, references, tmp_path / "postprocessing.pkl"


def test_lesion_wise_dice_refuses_what_helps_dice(lesions):
    # Below 20 voxels the small lesion goes with the surplus one. Dice: 2 * 1008 / (1008 + 1024) without, then
    # 2 * 1000 / (1008 + 1000). Lesion-wise: (1 + 1 + 0) / 3 without, then (1 + 0) / 2. Below 5 nothing goes.
    by_dice = determine(lesions, thresholds=(5, 20))
    assert [curve.applied for curve in by_dice.search.curves] == [True]
    result = determine(lesions, thresholds=(5, 20), lesions=LesionSettings("brats2025"))
    assert result.chosen == []
    curve = result.search.curves[0]
    assert curve.scores.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    assert curve.case_dice[:, 0, 0].tolist() == pytest.approx([2016 / 2032, 2016 / 2032, 2000 / 2008])
    table = pd.read_csv(lesions[2].with_name("postprocessing_curves.csv"))
    assert table["mean_lesion_dice"].tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    assert table["mean_dice"].tolist() == pytest.approx([2016 / 2032, 2016 / 2032, 2000 / 2008])
    assert set(table["lesions"]) == {"brats2025"}
    description = json.loads(lesions[2].with_suffix(".json").read_text())
    assert description["lesions"] == "brats2025"
    assert description["mean_lesion_dice_before"] == pytest.approx(2 / 3)
    drawn = [line.get_label() for line in _plot(result).axes[0].lines]
    assert {"lesion-wise Dice", "Dice (nan)"} <= set(drawn)


def test_lesion_wise_dice_of_2023_leaves_small_lesions_out(lesions):
    # The lesion of 8 voxels leaves the mean: (1 + 0) / 2 without, and 1 with the surplus one gone.
    for joint in (False, True):
        result = determine(lesions, thresholds=(5, 20), lesions=LesionSettings("brats2023", "gli"), joint=joint)
        assert result.search.curves[0].scores.tolist() == pytest.approx([1 / 2, 1 / 2, 1])
        assert [curve.best for curve in result.chosen] == [20]
        assert (result.score, result.how) == ("lesion-wise Dice", "brats2023 gli")
        assert (result.search.before, result.search.after) == (0.5, 1)


def test_detection_is_no_score(lesions):
    with pytest.raises(InputError, match="brats2023 or brats2025"):
        determine(lesions, lesions=LesionSettings("detection"))
