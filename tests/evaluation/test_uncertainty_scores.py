"""``evaluate --uncertainty`` on a folder as ``nnunet_ext uncertainty`` writes it."""

import json

import numpy as np
import pandas as pd
import pytest
from label_cases import PLAIN_DATASET, write_dataset_json, write_folder, write_image

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.evaluate import evaluate_folders
from nnunet_ext.evaluation.uncertainty_folder import UncertaintyFolder, read_uncertainty_folder
from nnunet_ext.images.map_image import write_map
from nnunet_ext.labels.label_image import read_label_image

WRITTEN = ["expected_dice.csv", "expected_dice.png", "uncertainty_curves.csv", "uncertainty_curves.png"]
GOOD, BAD = "good", "bad"


@pytest.fixture
def study(tmp_path):
    """A good case and a bad one, both uncertain exactly where they are wrong, maps of 0 to 100."""
    write_dataset_json(tmp_path, PLAIN_DATASET)
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[1:3] = 1
    wrong = truth.copy()
    wrong[2], wrong[3] = 0, 1
    write_folder(tmp_path / "labelsTr", {GOOD: truth, BAD: truth})
    write_folder(tmp_path / "pred", {GOOD: truth, BAD: wrong})
    maps = UncertaintyFolder(tmp_path / "unc", ("lesion",), 100)
    for case, predicted in ((GOOD, truth), (BAD, wrong)):
        file = maps.map_file("entropy", "lesion", case)
        file.parent.mkdir(parents=True, exist_ok=True)
        grid = read_label_image(tmp_path / "pred" / f"{case}.nii.gz", PLAIN_DATASET).grid
        write_map(file, (100 * (predicted != truth)).astype(np.uint8), grid)
    rows = [{"case": GOOD, "region": "lesion", "expected_dice": 0.9, "flagged": False},
            {"case": BAD, "region": "lesion", "expected_dice": 0.4, "flagged": True}]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "unc" / "cases.csv", index=False)
    (tmp_path / "unc" / "uncertainty.json").write_text(json.dumps({"regions": ["lesion"], "largest": 100}))
    return tmp_path


def run(study, **kwargs):
    return evaluate_folders(
        study / "labelsTr", study / "pred", study / "out", uncertainty=study / "unc", num_processes=1, **kwargs
    )


def test_curves_and_cases_are_written_and_summed_up(study):
    summary = run(study).summary["uncertainty"]
    assert {path.name for path in (study / "out").iterdir()} >= set(WRITTEN)
    areas = pd.read_csv(study / "out" / "uncertainty_curves.csv").set_index("case")
    # maps of 100 are taken for 1: everything wrong is filtered below the last threshold
    assert areas.loc[BAD, "dice_auc"] == pytest.approx(1 - (1 - 0.5) / 80)
    assert areas.loc[GOOD, "qu_score"] == 1
    assert summary["curves"][0]["dice_auc"] == pytest.approx(1 - (1 - 0.5) / 160)
    found = summary["bad_cases"][0]
    assert (found["n"], found["num_bad"], found["auroc"], found["spearman"]) == (2, 1, 1, pytest.approx(1))
    assert summary == json.loads((study / "out" / "summary.json").read_text())["uncertainty"]
    page = (study / "out" / "summary.md").read_text()
    assert "## Uncertain voxels and mistakes" in page
    assert "| lesion | 2 | 1 | 1.000 (" in page


def test_true_negatives_are_counted_in_the_head_where_there_are_images(study):
    head = np.zeros((4, 4, 4), np.float32)
    head[:3] = 5.0
    for case in (GOOD, BAD):
        write_image(study / "images" / f"{case}_0000.nii.gz", head)
    rows = {}
    for images in (None, study / "images"):
        summary = run(study, images=images).summary["uncertainty"]
        rows[summary["true_negatives_of"]] = summary["curves"][0]
    assert set(rows) == {"image", "head"}
    assert rows["image"]["filtered_tn_auc"] == rows["head"]["filtered_tn_auc"] == 0


def test_later_run_without_uncertainty_removes_what_would_contradict_it(study):
    run(study)
    evaluate_folders(study / "labelsTr", study / "pred", study / "out", num_processes=1)
    assert not {path.name for path in (study / "out").iterdir()} & set(WRITTEN)


def test_case_that_the_folder_lacks_is_refused_and_nothing_written(study):
    table = pd.read_csv(study / "unc" / "cases.csv")
    table[table["case"] != BAD].to_csv(study / "unc" / "cases.csv", index=False)
    with pytest.raises(InputError, match="unc: lacks case 'bad', region 'lesion'"):
        run(study)
    assert not (study / "out").exists()


def test_map_on_another_grid_is_refused(study):
    maps = read_uncertainty_folder(study / "unc")
    write_image(maps.map_file("entropy", "lesion", BAD), np.zeros((4, 4, 4), np.uint8), spacing=(1.0, 1.0, 2.0))
    with pytest.raises(InputError, match=r"entropy/lesion/bad\.nii\.gz: spacing .*label image of the case"):
        run(study)


def test_folder_that_uncertainty_did_not_write_is_refused(study):
    with pytest.raises(InputError, match=r"has no uncertainty\.json"):
        evaluate_folders(study / "labelsTr", study / "pred", study / "out", uncertainty=study / "pred", num_processes=1)
    (study / "unc" / "cases.csv").write_text("case,region\n")
    with pytest.raises(InputError, match=r"cases\.csv: has no column 'expected_dice'"):
        run(study)


def test_names_of_regions_become_different_folders(tmp_path):
    maps = UncertaintyFolder(tmp_path, ("a/b", "a b", "..", "$x$"), 1)
    folders = [maps.map_file("entropy", region, "c").parent.name for region in maps.regions]
    assert folders == ["a_b", "a_b_2", "region", "x"]
