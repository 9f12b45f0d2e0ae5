"""nnU-Net's search among trainers and models."""

import inspect

import pytest
from nnunetv2.evaluation import find_best_configuration as module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.host.models import best_models, find_trainer, search_trainer, trainers_folder

MODEL = {"trainer": "A", "plans": "P", "configuration": "2d"}


def test_trainer_is_found_without_a_word(capsys):
    assert find_trainer("nnUNetTrainer") is nnUNetTrainer
    with pytest.raises(LookupError, match="NoSuchTrainer"):
        find_trainer("NoSuchTrainer")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "found", "error"),
    [
        ("class Mine:\n    pass\n", True, AssertionError),
        ("raise RuntimeError('no GPU')\n", False, RuntimeError),
        ("Other = 1\n", False, type(None)),
    ],
)
def test_search_tells_where_it_ended(tmp_path, monkeypatch, content, found, error):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "theirs.py").write_text(content)
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    search = search_trainer("Mine")
    assert search.found is None
    assert search.module == (tmp_path / "package" / "theirs.py" if found else None)
    assert type(search.error) is error
    with pytest.raises(LookupError if search.error is None else error):
        find_trainer("Mine")


def test_own_trainers_are_where_nnunet_looks_first():
    assert inspect.getfile(nnUNetTrainer).startswith(f"{trainers_folder()}/")


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
