"""What the files of a workflow say, before Snakemake reads them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.planning.plans_name import plans_name
from nnunet_ext.testing import Case
from nnunet_ext.workflow.choices import WorkflowChoices, WorkflowError
from nnunet_ext.workflow.write import write_workflow


@pytest.fixture
def environment(tmp_path):
    folders = {name: tmp_path / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    (folders["nnUNet_raw"] / "Dataset137_BraTS").mkdir(parents=True)
    (folders["nnUNet_raw"] / "Dataset137_BraTS" / "dataset.json").write_text(json.dumps(Case().dataset_json))
    return {name: str(folder) for name, folder in folders.items()}


def config(folder):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_settings_hold_what_was_chosen(tmp_path, environment):
    choices = WorkflowChoices(
        "137", ["ModalityPairingTrainer", "nnUNetTrainer"], ["2d", "3d_fullres"], [0, 1], ["num_epochs=5"], device="cpu"
    )
    write_workflow(tmp_path / "w", choices, environment)
    settings = config(tmp_path / "w")
    assert settings["dataset"] == "Dataset137_BraTS"
    assert settings["folds"] == [0, 1]
    assert settings["device"] == "cpu"
    assert settings["environment"]["nnUNet_results"] == environment["nnUNet_results"]
    assert Path(settings["environment"]["nnUNet_extTrainer"]).name == "plugin"
    own = plans_name("ModalityPairingTrainer", {"num_epochs": 5})
    assert settings["method_plans"] == {own: {"trainer": "ModalityPairingTrainer", "arguments": ["num_epochs=5"]}}
    assert [tuple(model.values()) for model in settings["models"]] == [
        ("ModalityPairingTrainer", own, "2d"),
        ("ModalityPairingTrainer", own, "3d_fullres"),
        ("nnUNetTrainer", "nnUNetPlans", "2d"),  # knows nothing of these settings
        ("nnUNetTrainer", "nnUNetPlans", "3d_fullres"),
    ]
    assert len(settings["prediction"]["ensembles"]["all_models"]) == 4


def test_one_model_needs_no_ensembling(tmp_path, environment):
    write_workflow(tmp_path, WorkflowChoices("Dataset137_BraTS", ["nnUNetTrainer"]), environment)
    assert config(tmp_path)["ensembling"] is False
    assert config(tmp_path)["prediction"] == {
        "images": None,
        "reference": None,
        "ensembles": {},
        "uncertainty": False,
    }


def test_references_belong_to_the_test_images_of_the_data_set(tmp_path, environment):
    for name in ("imagesTs", "labelsTs"):
        (tmp_path / "nnUNet_raw" / "Dataset137_BraTS" / name).mkdir()
        (tmp_path / "nnUNet_raw" / "Dataset137_BraTS" / name / "a.nii.gz").touch()
    write_workflow(tmp_path / "a", WorkflowChoices("137", ["nnUNetTrainer"]), environment)
    assert [Path(config(tmp_path / "a")["prediction"][key]).name for key in ("images", "reference")] == [
        "imagesTs",
        "labelsTs",
    ]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b_0000.nii.gz").touch()
    other = WorkflowChoices("137", ["nnUNetTrainer"], images=tmp_path / "elsewhere")
    write_workflow(tmp_path / "b", other, environment)
    assert config(tmp_path / "b")["prediction"]["reference"] is None


def test_several_gpus_are_shared_out_and_limit_the_jobs(tmp_path, environment):
    write_workflow(tmp_path, WorkflowChoices("137", ["nnUNetTrainer"], num_gpus=3), environment)
    assert config(tmp_path)["devices"] == [0, 1, 2]
    assert 'resources: ["gpu=3"]' in (tmp_path / "profiles" / "default" / "config.yaml").read_text()


def test_other_settings_have_other_plans_and_so_other_models(tmp_path, environment):
    models = []
    for number in (5, 6):
        choices = WorkflowChoices("137", ["ModalityPairingTrainer"], assignments=[f"num_epochs={number}"])
        write_workflow(tmp_path / str(number), choices, environment)
        models += [model["plans"] for model in config(tmp_path / str(number))["models"]]
    assert len(set(models)) == 2


def test_unset_variable_is_named(tmp_path, environment):
    del environment["nnUNet_results"]
    with pytest.raises(WorkflowError, match="nnUNet_results is not set"):
        write_workflow(tmp_path / "w", WorkflowChoices("137", ["nnUNetTrainer"]), environment)


# with the first Snakemake reads no profile, with the next those of other folders; the last are run on SLURM
@pytest.mark.parametrize("name", ["a[b]", "*", "a?", "a{b}", "<", "$(touch X)", "`touch X`", "a\\b"])
def test_folders_that_snakemake_does_not_work_in_are_refused(tmp_path, environment, name):
    for folder in (tmp_path / name, tmp_path / name / "below"):
        with pytest.raises(WorkflowError, match="Rename the folder"):
            write_workflow(folder, WorkflowChoices("137", ["nnUNetTrainer"]), environment)
    assert not (tmp_path / name).exists()


def test_edited_settings_are_replaced_on_demand_only(tmp_path, environment):
    choices = WorkflowChoices("137", ["nnUNetTrainer"])
    write_workflow(tmp_path, choices, environment)
    (tmp_path / "config.yaml").write_text("edited")
    with pytest.raises(WorkflowError, match="--overwrite"):
        write_workflow(tmp_path, choices, environment)
    assert (tmp_path / "config.yaml").read_text() == "edited"
    write_workflow(tmp_path, choices, environment, overwrite=True)
    assert config(tmp_path)["dataset"] == "Dataset137_BraTS"


def test_command_says_how_to_go_on(tmp_path, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = ["workflow", "-d", "137", "-tr", "ModalityPairingTrainer", "-f", "0", "-o", str(tmp_path / "w")]
    result = CliRunner().invoke(app, [*command, "num_epochs=5", "batch_size=2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "snakemake -n" in result.output
    (plans,) = config(tmp_path / "w")["method_plans"].values()
    assert plans["arguments"] == ["num_epochs=5", "batch_size=2"]
