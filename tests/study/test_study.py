"""A study's rows by value, from small model folders as nnU-Net leaves them."""

import numpy as np
import pandas as pd
import pytest
import yaml
from label_cases import tumour
from model_folders import STUDIED, studied_model

from nnunet_ext.errors import InputError
from nnunet_ext.study.write import SMOKE_STEPS, draw_curves, is_smoke_scale, time_words, write_study
from nnunet_ext.trainers import ModalityDropoutTrainer, ModalityPairingTrainer

NOTHING = np.zeros_like(tumour())


@pytest.fixture(autouse=True)
def nnunet_folders(monkeypatch, tmp_path):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "preprocessed" / "Dataset999_Case"
    folder.mkdir(parents=True)
    (folder / "dataset_fingerprint.json").write_text('{"b": 1, "a": [2.5]}')
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))


@pytest.fixture
def models(tmp_path):
    """Pairing is perfect; plain nnU-Net finds one case with one of two seeds."""
    perfect = {"a": tumour(), "b": tumour()}
    return [
        studied_model(tmp_path, ModalityPairingTrainer, 0, perfect, warmup_epochs=1),
        studied_model(tmp_path, ModalityPairingTrainer, 1, perfect, warmup_epochs=1),
        studied_model(tmp_path, ModalityDropoutTrainer, 0, {"a": tumour(), "b": NOTHING}, modality_dropout=0),
        studied_model(tmp_path, ModalityDropoutTrainer, 1, {"a": NOTHING, "b": NOTHING}, modality_dropout=0),
    ]


@pytest.fixture
def rows(models, tmp_path):
    write_study(models, tmp_path / "study", "the command", num_processes=1)
    return yaml.safe_load((tmp_path / "study" / "results.yaml").read_text())["rows"]


def test_seeds_are_one_row_and_plain_nnunet_comes_first(rows):
    assert [(row["name"], row["seeds"]) for row in rows] == [
        ("plain nnU-Net", [0, 1]),
        ("ModalityPairingTrainer", [0, 1]),
    ]


def test_scores_count_a_case_once_with_its_mean_over_the_seeds(rows):
    dice = rows[0]["scores"]["whole_tumor"]["dice"]
    assert (dice["mean"], dice["n"]) == (0.25, 2)  # cases .5 and 0
    assert dice["of_seeds"] == [0.5, 0.0]
    assert dice["std_of_seeds"] == pytest.approx(0.3536)
    assert dice["interval"] == [0.0, 1.0]  # the first seed and the case that it finds alone, in 1 of 16 draws


def test_differences_are_paired_with_plain_nnunet(rows):
    assert "minus_plain" not in rows[0]
    difference = rows[1]["minus_plain"]["tumor_core"]["dice"]
    assert (difference["mean"], difference["interval"]) == (0.75, [0.0, 1.0])
    assert rows[1]["minus_plain"]["tumor_core"]["hd95"]["mean"] == pytest.approx(-0.75 * 373.1287, abs=1e-3)


def test_row_says_what_was_trained(rows):
    plain, pairing = rows
    assert plain["steps"] == pairing["steps"] == 20
    assert (pairing["dataset"], pairing["folds"], pairing["device"]) == ("Dataset999_Case", ["0"], "cpu")
    assert pairing["fingerprint"] == "e29416a8e900"  # of '{"a": [2.5], "b": 1}'
    assert pairing["settings_unlike_paper"] == STUDIED | {"warmup_epochs": 1}
    assert pairing["plans"] == {
        "configuration": "3d", "spacing": [1.0, 1.0, 1.0], "patch_size": [16, 16, 16], "batch_size": 2,
        "features_of_first_stage": 4,
    }  # fmt: skip
    assert pairing["command"] == "the command"
    assert pairing["versions"]["torch"] == "2.9"
    assert "commit" in pairing


def test_costs_are_counted_and_time_is_that_of_the_epochs(rows):
    plain, pairing = (row["cost"] for row in rows)
    assert pairing["parameters"] > plain["parameters"] > 1000
    assert pairing["operations_per_step"] > plain["operations_per_step"] > 1e6
    assert plain["seconds_per_step"] == 2.0
    assert plain["training_seconds"] == 40.0  # two epochs of 20 s; the 10 s between them were waited


def test_page_and_curves(rows, tmp_path):
    page = (tmp_path / "study" / "study.md").read_text()
    scores = "1.000 (1.000 to 1.000) | 1.000 / 1.000 | 0.750 (0.000 to 1.000)"
    assert f"| ModalityPairingTrainer | whole_tumor | Dice | {scores} |" in page
    assert "Smoke scale" in page
    curves = (tmp_path / "study" / "curves.csv").read_text().splitlines()
    assert curves[0] == "name,step,pseudo_dice,seconds"
    assert curves[1].startswith("plain nnU-Net,10,0.15")  # seeds .1 and .2
    assert curves[4].startswith("ModalityPairingTrainer,20,0.3")
    assert [line.rsplit(",", 1)[1] for line in curves[1:3]] == ["20.0", "40.0"]
    assert page.startswith("# Dataset999_Case, 20 steps\n")
    assert "equal wall time" not in page
    assert (tmp_path / "study" / "curves.png").stat().st_size > 1000


def test_other_numbers_of_steps_are_refused(models, tmp_path):
    longer = studied_model(tmp_path, ModalityPairingTrainer, 2, {"a": tumour()}, epochs=1, pairing_weight=0.1)
    with pytest.raises(InputError, match="Steps differ"):
        write_study([*models, longer], tmp_path / "study", num_processes=1)
    assert not (tmp_path / "study").exists()


def test_training_that_has_not_ended_is_refused(models, tmp_path):
    (models[1] / "fold_0" / "checkpoint_final.pth").rename(models[1] / "fold_0" / "checkpoint_latest.pth")
    with pytest.raises(InputError, match=r"Plans1__3d/fold_0: no training that has ended"):
        write_study(models, tmp_path / "study", num_processes=1)


@pytest.fixture
def models_at_equal_time(tmp_path):
    """Plain nnU-Net trains 2 epochs in 40 s; pairing one in 36 s, with another seed in 38 s."""
    cases = {"a": tumour()}
    plain = [studied_model(tmp_path, ModalityDropoutTrainer, seed, cases, modality_dropout=0) for seed in (0, 1)]
    pairing = [studied_model(tmp_path, ModalityPairingTrainer, seed, cases, epochs=1, seconds=36 + 2 * seed)
               for seed in (0, 1)]  # fmt: skip
    return [*plain, *pairing]


def test_at_equal_time_steps_may_differ_and_times_are_said(models_at_equal_time, tmp_path):
    with pytest.raises(InputError, match="Steps differ"):
        write_study(models_at_equal_time, tmp_path / "study", num_processes=1)
    rows = write_study(models_at_equal_time, tmp_path / "study", num_processes=1, equal_time=True)
    assert [(row["equal_time"], row["steps"], row["cost"]["training_seconds"]) for row in rows] == [
        (True, 20, 40.0),
        (True, 10, 37.0),  # median of 36 and 38
    ]
    page = (tmp_path / "study" / "study.md").read_text()
    assert page.startswith("# Dataset999_Case, equal wall time, 10 to 20 steps\n")
    assert "trainings took 37.0 to 40.0 s, the longest 8.1 % more than the shortest" in page  # 40 / 37 = 1.081
    assert "| Steps | Seconds of training |" in page
    assert "| 10 | 37.000 |" in page
    assert "over time" in page


def test_curves_are_over_time_at_equal_time():
    curves = pd.DataFrame({"name": "a", "step": [10, 20], "pseudo_dice": [0.1, 0.2], "seconds": [7.0, 15.0]})
    for over, label, values in (("step", "training steps", [10, 20]), ("seconds", "training time [s]", [7, 15])):
        (axes,) = draw_curves(curves, over).axes
        assert axes.get_xlabel() == label
        assert list(axes.lines[0].get_xdata()) == values


def test_smoke_scale_is_that_of_the_longest_training():
    assert is_smoke_scale([{"steps": 400}, {"steps": SMOKE_STEPS - 1}])
    assert not is_smoke_scale([{"steps": 400}, {"steps": SMOKE_STEPS}])


def test_times_that_were_not_logged_are_not_made_up():
    assert time_words([{"cost": {"training_seconds": 3.0}}, {"cost": {"training_seconds": None}}]) == (
        "training times were not logged"
    )
