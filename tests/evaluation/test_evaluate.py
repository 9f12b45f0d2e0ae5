"""Scoring folders: outputs, options and bad input."""

import errno
import json
import os
import re
import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
from label_cases import PLAIN_DATASET, tumour, write_dataset_json, write_folder, write_image
from matplotlib.figure import Figure

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.evaluate import evaluate_folders
from nnunet_ext.evaluation.lesions import LesionSettings

EMPTY = np.zeros_like(tumour())
REFERENCES = {"a": tumour(), "b": tumour(), "c": tumour(enhancing=False), "d": EMPTY}
PREDICTIONS = {"a": tumour(), "b": tumour(1), "c": tumour(), "d": EMPTY}
WRITTEN = ["box_plots.png", "metrics.csv", "summary.json", "summary.md"]


@pytest.fixture
def folders(tmp_path):
    """Reference, prediction and output folder of a data set with the three BraTS regions."""
    write_dataset_json(tmp_path)
    return (
        write_folder(tmp_path / "labelsTr", REFERENCES),
        write_folder(tmp_path / "pred", PREDICTIONS),
        tmp_path / "out",
    )


def evaluate(folders, **kwargs):
    return evaluate_folders(*folders, **{"num_processes": 1, **kwargs})


def test_writes_a_row_a_case_and_region(folders):
    evaluate(folders)
    assert sorted(path.name for path in folders[2].iterdir()) == WRITTEN
    rows = pd.read_csv(folders[2] / "metrics.csv")
    assert len(rows) == 4 * 3
    assert set(rows["convention"]) == {"brats2020"}
    assert set(rows["hd95_definition"]) == {"pooled"}
    shifted = rows.set_index(["case", "region"]).loc[("b", "enhancing tumor")]
    assert shifted["dice"] == pytest.approx(2 / 3)  # three columns wide, moved by one
    assert shifted["hd95"] == pytest.approx(1)


def test_table_holds_the_means_and_without_a_folder_nothing_is_written(folders, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    found = evaluate_folders(*folders[:2], None, num_processes=1)
    assert sorted(tmp_path.rglob("*")) == before
    assert list(found.table.index) == ["whole tumor", "tumor core", "enhancing tumor"]
    # a and d are right, b is moved by one column of three, c has none to find
    assert found.table.loc["enhancing tumor", "dice"] == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    assert found.table.loc["enhancing tumor", "hd95"] == pytest.approx((0 + 1 + 373.12866 + 0) / 4)
    assert "specificity" in found.table


def test_summary_counts_penalised_cases(folders):
    evaluate(folders)
    summary = json.loads((folders[2] / "summary.json").read_text())
    enhancing = summary["regions"]["enhancing tumor"]
    assert (enhancing["false_positive_cases"], enhancing["both_empty_cases"]) == (1, 1)
    hd95, without = enhancing["metrics"]["hd95"], enhancing["metrics"]["hd95_without_penalty"]
    assert (hd95["n"], without["n"]) == (4, 3)
    assert hd95["mean"] == pytest.approx((0 + 1 + 373.12866 + 0) / 4)
    assert without["mean"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("definition", ["pooled", "directed"])
def test_every_output_names_the_definition_of_hd95(folders, definition):
    evaluate(folders, hd95_choice=definition, other=folders[1])
    for name in ("metrics.csv", "comparison.csv", "summary.json", "summary.md"):
        assert definition in (folders[2] / name).read_text()


def test_both_definitions_of_hd95_come_from_one_run(folders):
    scattered = tumour(1)
    scattered[0, 0, :3] = 3
    write_image(folders[1] / "b.nii.gz", scattered)
    single = {name: evaluate(folders, hd95_choice=name).metrics for name in ("pooled", "directed")}
    both = evaluate(folders, hd95_choice="both", other=folders[1]).metrics
    for suffix in ("", "_without_penalty"):
        pd.testing.assert_series_equal(both[f"hd95{suffix}"], single["pooled"][f"hd95{suffix}"])
        expected = single["directed"][f"hd95{suffix}"]
        pd.testing.assert_series_equal(both[f"hd95_directed{suffix}"], expected, check_names=False)
    assert set(both["hd95_definition"]) == {"pooled"}
    row = both.set_index(["case", "region"]).loc[("b", "enhancing tumor")]
    assert abs(row["hd95"] - row["hd95_directed"]) > 0.01
    page = (folders[2] / "summary.md").read_text()
    assert "## HD95 [mm], pooled" in page
    assert "## HD95 [mm], directed" in page
    assert "- HD95: `directed`" in page
    assert "HD95 [mm], directed" in page.split("## Difference to")[1]


def test_scoring_does_not_import_what_takes_seconds(folders):
    # each worker process imports this anew: PyTorch and MONAI took longer than scoring twenty cases
    code = (
        "import sys; from pathlib import Path; from nnunet_ext.labels.dataset_labels import read_dataset_labels; "
        "from nnunet_ext.evaluation.case import evaluate_case; a, b, c = map(Path, sys.argv[1:]); "
        "rows = evaluate_case('b', a, b, read_dataset_labels(c), 'nan', 'pooled'); assert rows.rows[0]['hd95'] > 0; "
        "print([name for name in ('torch', 'monai', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    files = [folders[0] / "b.nii.gz", folders[1] / "b.nii.gz", folders[0].parent / "dataset.json"]
    result = subprocess.run([sys.executable, "-c", code, *map(str, files)], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_convention_can_be_chosen(folders):
    result = evaluate(folders, convention="nan")
    assert result.summary["regions"]["enhancing tumor"]["metrics"]["hd95"]["n"] == 2


def test_parallel_processes_give_the_same_rows(folders):
    alone = evaluate(folders).metrics
    pd.testing.assert_frame_equal(alone, evaluate(folders, num_processes=2).metrics)


def test_comparison_is_written(folders, tmp_path):
    other = write_folder(tmp_path / "other", {case: tumour(2) for case in REFERENCES})
    result = evaluate(folders, other=other)
    assert result.comparison is not None
    row = result.comparison.set_index(["region", "metric"]).loc[("whole tumor", "dice")]
    assert row["mean_difference"] > 0
    assert "Difference to" in (folders[2] / "summary.md").read_text()
    evaluate(folders)
    assert not (folders[2] / "comparison.csv").exists()  # no longer belongs to the numbers beside it


LESIONS = ["detection.png", "lesions.csv"]


@pytest.mark.parametrize(
    ("settings", "name", "dice"),
    # the enhancing tumour of case b is shifted (Dice 2/3), that of c is surplus, that of d empty on both sides
    [
        (LesionSettings("brats2023", "met"), "brats2023 met", [1, 2 / 3, 0, 1]),
        (LesionSettings("brats2025"), "brats2025", [1, 2 / 3, 0]),
    ],
)
def test_lesion_wise_scores_are_in_every_output(folders, settings, name, dice):
    result = evaluate(folders, lesions=settings, other=folders[1])
    assert sorted(path.name for path in folders[2].iterdir()) == sorted([*WRITTEN, *LESIONS, "comparison.csv"])
    rows = pd.read_csv(folders[2] / "metrics.csv")
    assert set(rows["lesions"]) == {name}
    enhancing = rows[rows["region"] == "enhancing tumor"]["lesion_dice"]
    assert enhancing.dropna().tolist() == pytest.approx(dice)
    summary = json.loads((folders[2] / "summary.json").read_text())
    assert summary["lesions"] == name
    mean = summary["regions"]["enhancing tumor"]["metrics"]["lesion_dice"]["mean"]
    assert mean == pytest.approx(np.mean(dice))
    page = (folders[2] / "summary.md").read_text()
    assert f"## Lesion-wise Dice, {name}" in page
    assert f"- Lesions: `{name}`" in page
    comparison = pd.read_csv(folders[2] / "comparison.csv")
    assert set(comparison["lesions"]) == {name}
    assert "lesion_hd95" in set(comparison["metric"])
    assert result.summary["regions"]["enhancing tumor"]["detection"]["lesions_surplus"] == 1


def test_detection_counts_lesions_of_all_cases(folders):
    # enhancing tumour: cases a, b found, c surplus, d empty; F1 = 2 * 2 / (2 * 2 + 1)
    result = evaluate(folders, lesions=LesionSettings("detection", match_dice=0.5))
    found = result.summary["regions"]["enhancing tumor"]["detection"]
    assert (found["lesions_found"], found["lesions_missed"], found["lesions_surplus"]) == (2, 0, 1)
    assert found["lesion_f1"] == pytest.approx(4 / 5)
    assert [(row["from"], row["below"], row["lesions"]) for row in found["sensitivity_by_volume"]] == [(10, 30, 2)]
    page = (folders[2] / "summary.md").read_text()
    assert "| enhancing tumor | 2 | 0 | 1 | 0.800 | 1.000 | 0.667 |" in page
    assert "| enhancing tumor | 10 to 30 | 2 | 2 | 1.000 |" in page
    lesions = pd.read_csv(folders[2] / "lesions.csv")
    of_region = lesions[lesions["region"] == "enhancing tumor"]
    assert of_region["kind"].tolist() == ["found", "found", "surplus"]
    assert of_region["volume"].tolist() == [18, 18, 18]
    assert "lesion_dice" not in result.metrics
    strict = evaluate(folders, lesions=LesionSettings("detection", match_dice=0.7, min_lesion_mm3=10))
    found = strict.summary["regions"]["enhancing tumor"]["detection"]
    assert (found["lesions_found"], found["lesions_missed"], found["lesions_surplus"]) == (1, 1, 2)
    assert "Surplus lesions, Dice 0.7 and 10 mm³" in (folders[2] / "summary.md").read_text()
    evaluate(folders)
    assert sorted(path.name for path in folders[2].iterdir()) == WRITTEN  # no longer belong to the numbers beside them


def test_surface_dice_has_a_tolerance_a_region(folders):
    result = evaluate(folders, nsd=["1", "whole tumor=0"], other=folders[1])
    rows = result.metrics.set_index(["case", "region"])
    assert rows["nsd_tolerance"].groupby("region").first().to_dict() == {
        "whole tumor": 0,
        "tumor core": 1,
        "enhancing tumor": 1,
    }
    shifted = rows.loc["b"]  # moved by 1 mm
    assert shifted.loc["tumor core", "nsd"] == shifted.loc["tumor core", "nsd_voxel"] == 1
    assert 0 < shifted.loc["whole tumor", "nsd"] < 1
    assert rows.loc[("c", "enhancing tumor"), "nsd"] == 0  # surplus
    assert rows.loc[("d", "enhancing tumor"), ["nsd", "nsd_voxel"]].tolist() == [1, 1]  # both empty, as Dice
    heading = "Surface Dice by area, whole tumor 0 mm, tumor core 1 mm, enhancing tumor 1 mm"
    assert f"## {heading}" in (folders[2] / "summary.md").read_text()
    assert heading in (folders[2] / "summary.md").read_text().split("## Difference to")[1]
    one = evaluate(folders, nsd=["enhancing tumor=2"]).metrics.set_index(["case", "region"])
    assert np.isnan(one.loc[("b", "whole tumor"), "nsd"])
    assert one.loc[("b", "enhancing tumor"), "nsd"] == 1


@pytest.mark.parametrize("option", ["one", "-1", "=1", "core=1", "whole tumor=", "nan"])
def test_malformed_tolerance_is_refused(folders, option):
    with pytest.raises(InputError, match="--nsd"):
        evaluate(folders, nsd=[option])
    with pytest.raises(InputError, match="second"):
        evaluate(folders, nsd=["1", "2"])
    assert not folders[2].exists()


def test_overlays_show_best_median_and_worst_case(folders, tmp_path):
    for case, labels in REFERENCES.items():
        for channel in range(2):
            write_image(tmp_path / "images" / f"{case}_{channel:04d}.nii.gz", labels.astype(np.float32) + channel)
    evaluate(folders, images=tmp_path / "images")
    assert (folders[2] / "overlays.png").stat().st_size > 10_000


def test_overlays_without_an_image_name_the_file(folders, tmp_path):
    with pytest.raises(InputError, match=r"images/a_0000\.nii\.gz: no such file"):
        evaluate(folders, images=tmp_path / "images")
    assert not folders[2].exists()


def test_one_fold_can_be_scored_alone(folders):
    (folders[1] / "a.nii.gz").unlink()
    assert evaluate(folders, only_predicted=True).summary["num_cases"] == 3


def test_ignored_voxels_are_not_scored(tmp_path):
    labels = {"background": 0, "lesion": 1, "ignore": 2}
    write_dataset_json(tmp_path, {**PLAIN_DATASET, "labels": labels})
    reference = (tumour() == 3).astype(np.uint8)
    prediction = reference.copy()
    prediction[0] = 1
    reference[0] = 2
    folders = write_folder(tmp_path / "ref", {"a": reference}), write_folder(tmp_path / "pred", {"a": prediction})
    row = evaluate((*folders, tmp_path / "out")).metrics.iloc[0]
    assert (row["dice"], row["hd95"], row["fp"]) == (1, 0, 0)
    assert row["tn"] == reference.size - (reference > 0).sum()


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        (tumour()[4], tumour(1)[4]),
        (tumour()[4:5], tumour(1)[4:5]),
        (np.ones_like(tumour()), tumour()),
        ((np.arange(1680).reshape(10, 12, 14) == 0).astype(np.uint8), tumour()),
    ],
    ids=["2d", "one slice", "whole image", "single voxel in the corner"],
)
def test_unusual_images_are_scored(tmp_path, reference, prediction):
    write_dataset_json(tmp_path)
    folders = write_folder(tmp_path / "ref", {"a": reference}), write_folder(tmp_path / "pred", {"a": prediction})
    row = evaluate((*folders, tmp_path / "out")).metrics.iloc[0]
    assert row["empty"] == "neither"
    assert 0 < row["hd95"] < 20


def test_colour_images_are_scored_and_shown(tmp_path):
    content = {**PLAIN_DATASET, "file_ending": ".png", "channel_names": {"0": "R", "1": "G", "2": "B"}}
    write_dataset_json(tmp_path, content)
    mask = (tumour()[4] > 0).astype(np.uint8)
    for folder, labels in (("ref", mask), ("pred", np.roll(mask, 1, axis=1))):
        (tmp_path / folder).mkdir()
        imageio.imwrite(tmp_path / folder / "a.png", labels)
    (tmp_path / "images").mkdir()
    imageio.imwrite(tmp_path / "images" / "a_0000.png", np.stack([mask * 200] * 3, axis=-1))
    result = evaluate((tmp_path / "ref", tmp_path / "pred", tmp_path / "out"), images=tmp_path / "images")
    assert result.metrics.iloc[0]["hd95"] == 1
    assert result.metrics.iloc[0]["volume_unit"] == "mm2"
    assert (tmp_path / "out" / "overlays.png").is_file()


def bad_shape(folder):
    write_image(folder / "b.nii.gz", tumour()[1:])


def bad_affine(folder):
    write_image(folder / "b.nii.gz", tumour(), origin=(0, 0, 5))


def bad_values(folder):
    write_image(folder / "b.nii.gz", tumour().astype(np.float32) / 2)


def bad_label(folder):
    write_image(folder / "b.nii.gz", tumour() * 2)


def truncated(folder):
    data = (folder / "b.nii.gz").read_bytes()
    (folder / "b.nii.gz").write_bytes(data[:-20])


def missing(folder):
    (folder / "b.nii.gz").unlink()


def extra(folder):
    write_image(folder / "z.nii.gz", tumour())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_shape, r"pred/b\.nii\.gz: shape .* as in .*labelsTr/b\.nii\.gz"),
        (bad_affine, r"pred/b\.nii\.gz: other affine"),
        (bad_values, r"pred/b\.nii\.gz: not a label image"),
        (bad_label, r"pred/b\.nii\.gz: label values \[4, 6\] are not in dataset\.json"),
        (truncated, r"pred/b\.nii\.gz: truncated"),
        (missing, r"pred: no prediction for case 'b'"),
        (extra, r"pred/z\.nii\.gz: no reference"),
    ],
)
def test_bad_input_is_named_and_older_output_stays(folders, spoil, message):
    evaluate(folders)
    before = {path.name: path.read_bytes() for path in folders[2].iterdir()}
    spoil(folders[1])
    with pytest.raises(InputError, match=message):
        evaluate(folders)
    assert {path.name: path.read_bytes() for path in folders[2].iterdir()} == before


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("last", [(Figure, "savefig"), (pd.DataFrame, "to_csv")])
@pytest.mark.parametrize("first_run", [True, False])
def test_full_disk_is_one_message_and_older_output_stays(folders, last, first_run, monkeypatch):
    """The disk is full when the second of the CSV files, or the figure, is written."""
    if not first_run:
        evaluate(folders)
    before = {path.name: path.read_bytes() for path in folders[2].iterdir()} if not first_run else {}
    write_image(folders[1] / "a.nii.gz", tumour(1))
    monkeypatch.setattr(*last, full_disk)
    with pytest.raises(InputError, match=r"out/\w+\.\w+ cannot be written: the disk of /.* is full"):
        evaluate(folders)
    assert {path.name: path.read_bytes() for path in folders[2].iterdir()} == before


def test_output_that_cannot_be_written_is_known_before_the_work(folders, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("nnunet_ext.evaluation.evaluate.score_files", None)
    with pytest.raises(InputError, match=r"file/out cannot be written: Not a directory"):
        evaluate((*folders[:2], tmp_path / "file" / "out"))


def test_cut_off_dataset_json_is_one_message(folders, tmp_path):
    content = (tmp_path / "dataset.json").read_bytes()
    (tmp_path / "dataset.json").write_bytes(content[:-20])
    with pytest.raises(InputError, match=r"dataset\.json: not a dataset\.json of nnU-Net v2"):
        evaluate(folders)
    assert not folders[2].exists()


@pytest.mark.parametrize("num_processes", [1, 2])
def test_all_bad_files_are_listed_at_once(folders, num_processes):
    truncated(folders[1])
    write_image(folders[1] / "c.nii.gz", tumour()[1:])
    with pytest.raises(InputError) as caught:
        evaluate(folders, num_processes=num_processes)
    assert [re.findall(r"pred/(\w)\.nii\.gz", problem) for problem in caught.value.problems] == [["b"], ["c"]]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"convention": "brats2019"}, "there are brats2020, brats2018, nan"),
        ({"hd95_choice": "medpy"}, "there are pooled, directed, both"),
    ],
)
def test_unknown_choice_lists_the_valid_ones(folders, kwargs, message):
    with pytest.raises(InputError, match=message):
        evaluate(folders, **kwargs)


def test_summary_of_nnunet_is_not_overwritten(folders):
    (folders[1] / "summary.json").write_text('{"metric_per_case": []}')
    with pytest.raises(InputError, match="nnU-Net's own summary"):
        evaluate((folders[0], folders[1], folders[1]))


def test_empty_or_missing_folder_is_named(folders, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        evaluate((folders[0], tmp_path / "nowhere", folders[2]))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"nothing: no files that end in '\.nii\.gz'"):
        evaluate((folders[0], tmp_path / "nothing", folders[2]))


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "convention"), [("Dataset301_Glioma", "brats2020"), ("Dataset302_MSLesions", "nan")])
def test_real_references_score_perfectly_against_themselves(real_data, tmp_path, name, convention):
    folder = real_data / name
    result = evaluate((folder / "labelsTr", folder / "labelsTr", tmp_path), images=folder / "imagesTr", convention=None)
    assert result.summary["convention"] == convention
    assert (result.metrics["dice"] == 1).all()
    assert (result.metrics["hd95"] == 0).all()
