"""Determining post-processing, and nnU-Net applying it."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from label_cases import read_image, tumour, write_dataset_json, write_folder, write_image

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.evaluate import evaluate_folders
from nnunet_ext.postprocessing import remove_small_components, replace_small_region
from nnunet_ext.postprocessing.determine import determine_postprocessing
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
    predictions = write_folder(tmp_path / "pred", {"a": tumour(), "b": with_noise(), "c": few_enhancing()})
    references = write_folder(tmp_path / "labelsTr", {"a": tumour(), "b": tumour(), "c": WITHOUT})
    return predictions, references, tmp_path / "out" / "postprocessing.pkl"


def determine(folders, **kwargs):
    return determine_postprocessing(*folders, **{"num_processes": 1, "thresholds": (2, 5, 10, 15, 20), **kwargs})


def test_pickle_holds_the_functions_that_improve_the_score(folders):
    result = determine(folders)
    functions, arguments = pickle.loads(folders[2].read_bytes())
    assert functions == [remove_small_components, remove_small_components]
    assert arguments[0] == {"region": (1, 2, 3), "replacement": 0, "connectivity": 26, "min_voxels": 10}
    assert arguments[1] == {"region": (3,), "replacement": 1, "connectivity": 26, "min_voxels": 10}
    assert (result.after, result.convention) == (1, "brats2020")
    assert result.before < 1


def test_curves_and_description_are_written(folders):
    result = determine(folders)
    written = sorted(path.name for path in folders[2].parent.iterdir())
    names = ["postprocessing.json", "postprocessing.pkl", "postprocessing_curves.csv", "postprocessing_curves.png"]
    assert written == names
    description = json.loads(folders[2].with_suffix(".json").read_text())
    assert description["mean_dice_after"] == 1
    whole, core, enhancing, small = description["rules"]
    assert (whole["cases_changed"], whole["same_score_from_to"]) == (1, [5, 20])
    assert [rule["applied"] for rule in (whole, core, enhancing, small)] == [True, False, True, False]
    table = pd.read_csv(folders[2].parent / "postprocessing_curves.csv")
    assert len(table) == 4 * 6
    chosen = table[table["chosen"]].iloc[0]
    assert chosen["mean_dice"] == pytest.approx(result.curves[0].scores.max())


def test_score_is_that_of_the_evaluation(folders, tmp_path):
    for convention in ("brats2020", "nan"):
        summary = evaluate_folders(
            folders[1], folders[0], tmp_path / "eval", convention=convention, num_processes=1
        ).summary
        dice = [region["metrics"]["dice"]["mean"] for region in summary["regions"].values()]
        assert determine(folders, convention=convention).before == pytest.approx(np.mean(dice))


def test_perfect_predictions_get_no_postprocessing(folders):
    result = determine((folders[1], folders[1], folders[2]))
    assert result.chosen == []
    assert pickle.loads(folders[2].read_bytes()) == ([], [])


def test_small_region_is_replaced_where_removing_its_components_would_harm(folders):
    corners = [(4, 4, 4), (4, 4, 6), (4, 6, 4), (4, 6, 6)]  # components of one voxel each
    three, four = WITHOUT.copy(), WITHOUT.copy()
    for index, voxel in enumerate(corners):
        four[voxel] = 3
        three[voxel] = 3 if index < 3 else 1
    for case, reference, prediction in (("a", WITHOUT, WITHOUT), ("b", four, four), ("c", WITHOUT, three)):
        write_image(folders[0] / f"{case}.nii.gz", prediction)
        write_image(folders[1] / f"{case}.nii.gz", reference)
    (chosen,) = determine(folders, thresholds=(2, 3, 4, 5)).chosen
    assert (chosen.rule.function, chosen.best) == (replace_small_region, 4)


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
    (folders[1] / "b.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"(?s)pred/a\.nii\.gz: shape.*labelsTr/b\.nii\.gz: cannot be read"):
        determine(folders)
    assert not folders[2].parent.exists()


def test_two_dimensional_images_are_processed_as_nnunet_gives_them(folders):
    for folder in folders[:2]:
        for path in folder.iterdir():
            write_image(path, read_image(path)[5])
    assert determine(folders).after == 1


def test_stock_nnunet_applies_it(folders, tmp_path):
    determine(folders)
    (tmp_path / "plans.json").write_text(json.dumps(Case().plans))
    command = [
        Path(sys.executable).with_name("nnUNetv2_apply_postprocessing"),
        *("-i", folders[0], "-o", tmp_path / "final", "-pp_pkl_file", folders[2], "-np", "1"),
        *("-plans_json", tmp_path / "plans.json", "-dataset_json", tmp_path / "dataset.json"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    for case in "abc":
        expected = read_image(folders[1] / f"{case}.nii.gz")
        np.testing.assert_array_equal(read_image(tmp_path / "final" / f"{case}.nii.gz"), expected)
