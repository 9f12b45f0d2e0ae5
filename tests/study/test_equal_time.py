"""Epochs of a study at equal wall time, from the seconds a step of an earlier one."""

import copy

import pytest
import yaml

from nnunet_ext.errors import InputError
from nnunet_ext.plans.settings import TrainingSettings, read_settings
from nnunet_ext.study.equal_time import PlannedTraining, epochs_at_equal_time

SIZE = {"configuration": "3d_fullres", "patch_size": [16, 16, 16], "batch_size": 2, "features_of_first_stage": 4}
SECONDS = {"plain nnU-Net": 0.5, "Slow": 2.0, "Fast": 0.3}


def row(name, seconds):
    return {
        "name": name, "dataset": "Dataset999_Case", "plans": dict(SIZE), "device": "cpu",
        "settings_unlike_paper": {"num_val_iterations_per_epoch": 5}, "cost": {"seconds_per_step": seconds},
    }  # fmt: skip


def trainings(num_epochs=10, names=tuple(SECONDS), **settings):
    values = {"num_epochs": num_epochs, "num_val_iterations_per_epoch": 5, **settings}
    return [PlannedTraining(name, dict(SIZE), read_settings(TrainingSettings, values)) for name in names]


@pytest.fixture
def rows():
    return [row(*entry) for entry in SECONDS.items()]


@pytest.fixture
def epochs(tmp_path):
    def call(rows, *arguments, device="cpu", **settings):
        file = tmp_path / "results.yaml"
        file.write_text(yaml.safe_dump({"rows": rows}))
        return epochs_at_equal_time(file, trainings(*arguments, **settings), "Dataset999_Case", device)

    return call


def test_others_get_the_epochs_that_take_as_long(epochs, rows):
    assert epochs(rows) == {"Slow": 2, "Fast": 17}  # 10 * .5 / 2 = 2.5, to even; 10 * .5 / .3 = 16.7
    assert epochs(rows, 30) == {"Slow": 8, "Fast": 50}  # 7.5, to even; 50
    assert epochs(rows, 1) == {"Slow": 1, "Fast": 2}  # .25, at least 1; 1.7


def test_order_of_the_rows_and_other_rows_do_not_matter(epochs, rows):
    assert epochs([row("Other", 9.0), *rows[::-1]]) == {"Slow": 2, "Fast": 17}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), "Medium", "0 rows of Slow.*Time all trainers together"),
        (("name",), "Fast", "2 rows of Fast"),
        (("cost", "seconds_per_step"), None, "Slow: no seconds a step were measured"),
        (("cost", "seconds_per_step"), 0.0, "Slow: no seconds a step were measured"),
        (("dataset",), "Dataset998_Other", "Slow: timed on Dataset998_Other, and Dataset999_Case"),
        (("plans", "patch_size"), [16, 16, 24], r"Slow: timed with patch_size \[16, 16, 24\], and \[16, 16, 16\] here"),
        (("plans", "batch_size"), 4, "Slow: timed with batch_size 4, and 2 here"),
        (("plans", "features_of_first_stage"), 8, "Slow: timed with features_of_first_stage 8, and 4 here"),
        (("plans", "configuration"), "2d", "Slow: timed with configuration 2d, and 3d_fullres here"),
        (("settings_unlike_paper",), {}, "Slow: timed with num_val_iterations_per_epoch 50, and 5 here"),
        (("device",), "NVIDIA H100", "times of NVIDIA H100, cpu"),
    ],
)
def test_times_of_other_trainings_are_refused(epochs, rows, path, value, message):
    target = copy.deepcopy(rows)
    place = target[1]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message):
        epochs(target)


def test_epochs_of_another_length_and_another_device_are_refused(epochs, rows):
    with pytest.raises(InputError, match="timed with num_iterations_per_epoch 250, and 10 here"):
        epochs(rows, num_iterations_per_epoch=10)
    with pytest.raises(InputError, match="times of cpu, and -device cuda here"):
        epochs(rows, device="cuda")


@pytest.mark.parametrize("text", ["rows: [", "rows: 3", "[]", "rows: []", "rows: [{name: a}]", "rows: [3]"])
def test_files_without_rows_of_a_study_are_refused(tmp_path, text):
    (tmp_path / "results.yaml").write_text(text)
    with pytest.raises(InputError, match=r"no rows of a study.*study/results\.yaml"):
        epochs_at_equal_time(tmp_path / "results.yaml", trainings(), "Dataset999_Case", "cpu")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.yaml cannot be read"):
        epochs_at_equal_time(tmp_path / "missing.yaml", trainings(), "Dataset999_Case", "cpu")
