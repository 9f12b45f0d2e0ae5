"""The results page is the stored rows, and never without a reason."""

import pytest
import results_page
import yaml
from results_page import PAGE, RESULTS, _beside, copy_from_elsewhere, rendered, why

ROW = {
    "name": "ModalityPairingTrainer",
    "trainer": "ModalityPairingTrainer",
    "num_cases": 3,
    "seeds": [0, 1],
    "steps": 400,
    "plans_unlike_paper": {"patch_size": [[24, 24, 24], [128, 128, 128]]},
    "settings_unlike_paper": {"num_epochs": 4, "warmup_epochs": 1},
}


def test_page_shows_the_stored_rows():
    assert PAGE.read_text(encoding="utf-8") == rendered(), "Run: python tools/results_page.py"


def test_page_changes_with_a_row(tmp_path):
    for file in RESULTS.glob("*.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "source" in content:
            content["rows"][0]["dice"][0] = 0.123
        (tmp_path / file.name).write_text(yaml.safe_dump(content))
    assert "| nnUNetTrainer |  | 0.123 /" in rendered(tmp_path)


def test_every_row_of_ours_beside_a_paper_has_its_reason():
    lines = [line for line in rendered().splitlines() if line.startswith("| Dataset")]
    for line in lines:
        assert "other data (" in line.split("|")[-2]


def test_regions_are_compared_under_either_spelling_and_others_are_not():
    row = {"scores": {"whole tumor": {"dice": {"mean": 0.5}}}}
    paper = {"regions": ["whole_tumor"], "dice": [0.9]}
    assert _beside(paper, row)[1] == "-0.400"
    assert _beside(paper | {"regions": ["lesion"]}, row)[1] == "other regions"


def test_reasons_name_data_scale_plans_and_settings():
    assert why({}, ROW) == (
        "other data (3 cases, 2 seeds); smoke scale: 400 steps; patch_size [24, 24, 24] for [128, 128, 128]; "
        "warmup_epochs=1"
    )
    large = ROW | {"steps": 250_000, "plans_unlike_paper": {}, "settings_unlike_paper": {}, "num_cases": 1}
    assert why({}, large) == "other data (1 case, 2 seeds)"


def test_rows_from_elsewhere_are_copied_once_and_need_a_source(tmp_path):
    source, target = tmp_path / "shared", tmp_path / "results"
    source.mkdir()
    target.mkdir()
    (source / "a.yaml").write_text("source: a clinic\nrows: []\n")
    (source / "b.yaml").write_text("source: another\nrows: []\n")
    (target / "b.yaml").write_text("source: kept\nrows: []\n")
    assert [file.name for file in copy_from_elsewhere(source, target)] == ["a.yaml"]
    assert yaml.safe_load((target / "b.yaml").read_text())["source"] == "kept"
    assert copy_from_elsewhere(source, target) == []
    assert copy_from_elsewhere(tmp_path / "nowhere", target) == []
    (source / "c.yaml").write_text("rows: []\n")
    with pytest.raises(ValueError, match=r"c\.yaml has no line `source:`"):
        copy_from_elsewhere(source, target)


def test_rows_at_equal_time_have_their_own_steps_and_times(tmp_path):
    dice = {"mean": 0.5, "interval": [0.4, 0.6], "of_seeds": [0.5, 0.5], "wilcoxon_p": 0.5, "n": 3}
    cost = {"parameters": 1, "operations_per_step": 1, "memory_of_step": 1, "seconds_per_step": 0.1}
    row = ROW | {
        "dataset": "Dataset999_Case", "equal_time": True, "folds": ["0"], "device": "cpu", "versions": {},
        "plans": {"spacing": [1.5], "patch_size": [16], "batch_size": 2, "features_of_first_stage": 4},
        "commit": "c", "command": "do",
        "fingerprint": "f", "convention": "nan", "hd95_definition": "pooled",
        "scores": {"lesion": {"dice": dice, "hd95": dice}}, "minus_plain": {"lesion": {"dice": dice, "hd95": dice}},
    }  # fmt: skip
    plain = row | {"name": "plain nnU-Net", "trainer": "ModalityDropoutTrainer", "steps": 1000}
    paper = {
        "trainer": row["trainer"],
        "title": "T",
        "data": "d",
        "regions": ["lesion"],
        "without": None,
        "dice": [0.7],
    }
    rows = [plain | {"cost": cost | {"training_seconds": 100.0}}, row | {"cost": cost | {"training_seconds": 110.0}}]
    (tmp_path / results_page.PUBLISHED).write_text(yaml.safe_dump({"papers": [paper]}))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"rows": rows}))
    page = rendered(tmp_path)
    assert "| Dataset999_Case, equal wall time | 0.500 | -0.200 | +0.500 (+0.400 to +0.600) |" in page
    assert "Equal wall time, 400 to 1000 steps, batch 2" in page
    assert "trainings took 100.0 to 110.0 s, the longest 10.0 % more than the shortest." in page
    assert "| 400 | 110.000 |" in page
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"rows": [rows[0] | {"steps": 10_000}, rows[1]]}))
    with pytest.raises(ValueError, match=r"study\.yaml is not"):
        rendered(tmp_path)


def test_rows_that_are_not_smoke_scale_are_not_called_so(tmp_path):
    (tmp_path / results_page.PUBLISHED).write_text("papers: []\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"rows": [ROW | {"steps": 250_000}]}))
    with pytest.raises(ValueError, match="smoke scale"):
        rendered(tmp_path)
