"""What is handed to nnU-Net's search, and what is gathered from its result."""

import pytest

from nnunet_ext.workflow import best_configuration
from nnunet_ext.workflow.best_configuration import ModelNameError, write_best_configuration

MODELS = ["A__PlansOfA__3d_fullres", "B__PlansOfB__2d"]


@pytest.fixture
def search(tmp_path, monkeypatch):
    """nnU-Net's search replaced by one that finds the pair best and left these files; its arguments."""
    source = tmp_path / "ensembles" / "pair"
    (source / "postprocessed").mkdir(parents=True)
    for name in ("postprocessing.pkl", "plans.json", "dataset.json", "other", "postprocessed/case.nii.gz"):
        (source / name).write_text(name)
    arguments = {}

    def find_best_configuration(dataset, models, **others):
        arguments.update(dataset=dataset, models=models, **others)
        selected = [{**model, "plans_identifier": model["plans"]} for model in models]
        return {
            "best_model_or_ensemble": {
                "postprocessing_file": str(source / "postprocessing.pkl"),
                "selected_model_or_models": selected,
            }
        }

    module = "nnunetv2.evaluation.find_best_configuration"
    monkeypatch.setattr(f"{module}.find_best_configuration", find_best_configuration)
    monkeypatch.setattr(
        best_configuration, "check_fold_plans", lambda *folders: arguments.setdefault("checked", []).append(folders)
    )
    for name in ("results", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return arguments


def test_exactly_the_given_models_are_compared(tmp_path, search):
    write_best_configuration("Dataset137_BraTS", MODELS, [0, 2], tmp_path / "best", True, 3)
    assert search["dataset"] == "Dataset137_BraTS"
    assert search["models"] == (
        {"trainer": "A", "plans": "PlansOfA", "configuration": "3d_fullres"},
        {"trainer": "B", "plans": "PlansOfB", "configuration": "2d"},
    )
    assert (search["folds"], search["allow_ensembling"], search["num_processes"]) == ((0, 2), True, 3)


def test_every_fold_must_have_been_trained_with_the_plans_that_there_are(tmp_path, search):
    write_best_configuration("Dataset137_BraTS", MODELS, [0, 2], tmp_path / "best", True, 3)
    results, preprocessed = (tmp_path / name / "Dataset137_BraTS" for name in ("results", "preprocessed"))
    assert search["checked"] == [
        (results / model / f"fold_{fold}", preprocessed) for model in MODELS for fold in (0, 2)
    ]


def test_folder_holds_what_applying_the_result_needs(tmp_path, search):
    best = write_best_configuration("Dataset137_BraTS", MODELS, [0], tmp_path / "best", True, 1)
    assert best == MODELS
    files = {str(file.relative_to(tmp_path / "best")): file for file in (tmp_path / "best").rglob("*.*")}
    assert set(files) == {
        "models.txt",
        "postprocessing.pkl",
        "plans.json",
        "dataset.json",
        "crossvalidation/case.nii.gz",
    }
    assert files["models.txt"].read_text().splitlines() == MODELS
    assert files["postprocessing.pkl"].read_text() == "postprocessing.pkl"


def test_name_that_is_no_model_is_an_error(tmp_path, search):
    with pytest.raises(ModelNameError, match="A__3d_fullres"):
        write_best_configuration("Dataset137_BraTS", ["A__3d_fullres"], [0], tmp_path / "best", True, 1)
    assert not search
