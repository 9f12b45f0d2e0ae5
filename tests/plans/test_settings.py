"""Settings: defaults, strict types, ranges, and messages that name what is valid."""

import json

import pytest

from nnunet_ext.plans.settings import SettingsError, TrainingSettings, read_settings, settings_as_json


def test_empty_block_gives_the_defaults():
    assert read_settings(TrainingSettings, {}) == TrainingSettings()


def test_values_replace_defaults():
    assert read_settings(TrainingSettings, {"num_epochs": 5, "initial_lr": 1}).num_epochs == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 3}, r"unknown setting 'epochs'\. Valid settings: num_epochs \(int\)"),
        ({"num_epochs": 0}, "num_epochs = 0: input should be greater than or equal to 1"),
        ({"num_epochs": "3"}, "num_epochs = '3': input should be a valid integer"),
        ({"num_epochs": 2.5}, "num_epochs = 2.5"),
        ({"num_epochs": True}, "num_epochs = True"),
        ({"initial_lr": float("nan")}, "initial_lr = nan: input should be a finite number"),
        ({"initial_lr": -1.0, "weight_decay": "x"}, "initial_lr = -1.0.*; weight_decay = 'x'"),
    ],
)
def test_bad_values_are_named_all_at_once(values, message):
    with pytest.raises(SettingsError, match=message):
        read_settings(TrainingSettings, values)


def test_settings_survive_json():
    settings = TrainingSettings(num_epochs=3)
    assert read_settings(TrainingSettings, json.loads(json.dumps(settings_as_json(settings)))) == settings


def test_message_names_the_types_in_words():
    with pytest.raises(SettingsError) as error:
        read_settings(TrainingSettings, {"modality_dropout": "often"})
    assert "num_epochs (int)" in str(error.value)
    assert "modality_dropout (float or 'uniform'), required_modalities (list[str] or null)" in str(error.value)
