"""nnU-Net's search among trainers and models."""

import inspect

import pytest
from nnunetv2.evaluation import find_best_configuration as module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.host.models import best_models, find_trainer

MODEL = {"trainer": "A", "plans": "P", "configuration": "2d"}


def test_trainer_is_found_without_a_word(capsys):
    assert find_trainer("nnUNetTrainer") is nnUNetTrainer
    with pytest.raises(LookupError, match="NoSuchTrainer"):
        find_trainer("NoSuchTrainer")
    assert capsys.readouterr().out == ""


def test_best_models_are_read_from_nnunets_result(tmp_path, monkeypatch):
    seen = {}

    def search(dataset, models, **options):
        seen.update(options, dataset=dataset, models=models)
        chosen = {"trainer": "A", "plans_identifier": "P", "configuration": "2d"}
        file = str(tmp_path / "postprocessing.pkl")
        return {"best_model_or_ensemble": {"selected_model_or_models": [chosen], "postprocessing_file": file}}

    monkeypatch.setattr(module, "find_best_configuration", search)
    best = best_models("Dataset137_Case", [MODEL], [0, 1], ensembling=False, num_processes=3)
    assert best == ([MODEL], tmp_path)
    assert (seen["dataset"], seen["models"], seen["folds"]) == ("Dataset137_Case", (MODEL,), (0, 1))
    assert (seen["allow_ensembling"], seen["num_processes"]) == (False, 3)
    assert (seen["strict"], seen["overwrite"]) == (True, True)


@pytest.mark.parametrize(
    "key", ["best_model_or_ensemble", "selected_model_or_models", "postprocessing_file", "plans_identifier"]
)
def test_nnunets_search_still_returns(key):
    """The search itself runs in the workflow's test; here its source must have the keys."""
    assert f"'{key}'" in inspect.getsource(module), key
