"""The graph that Snakemake makes of the settings; no job is run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.planning.plans_name import plans_name
from nnunet_ext.testing import Case
from nnunet_ext.workflow.choices import WorkflowChoices, WorkflowError
from nnunet_ext.workflow.write import write_workflow

BIN = Path(sys.executable).parent
SNAKEMAKE = shutil.which("snakemake", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(SNAKEMAKE is None, reason='Snakemake is not installed: pip install ".[workflow]"')

PAIRING = "ModalityPairingTrainer__nnUNetPlans__3d_fullres"
PLAIN = "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def environment(tmp_path):
    """nnU-Net's folders, one of them with a space in its name, with a data set that has test images."""
    folders = {name: tmp_path / f"the {name}" for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    dataset = folders["nnUNet_raw"] / "Dataset137_BraTS"
    for name in ("imagesTs", "labelsTs"):
        (dataset / name).mkdir(parents=True)
        (dataset / name / "a.nii.gz").touch()
    (dataset / "dataset.json").write_text(json.dumps(Case().dataset_json))
    return {name: str(folder) for name, folder in folders.items()}


@pytest.fixture
def folder(tmp_path, environment):
    folder = tmp_path / "the workflow"
    write_workflow(folder, WorkflowChoices("137", ["ModalityPairingTrainer", "nnUNetTrainer"]), environment)
    return folder


def edit(folder, old, new):
    file = folder / "config.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def dry_run(folder, *arguments, fails=False):
    """What ``snakemake -n`` prints, from another working directory."""
    command = [SNAKEMAKE, "-n", "-s", folder / "Snakefile", "--cores", "16", *arguments]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=folder.parent)
    output = result.stdout + result.stderr
    assert (result.returncode != 0) == fails, output
    return output


def counts(output):
    """Rule -> number of jobs."""
    table = output.rsplit("Job stats:", 1)[1].split("total")[0]
    return {name: int(number) for name, number in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}


def finish(folder, *marks):
    for mark in marks:
        (folder / mark).parent.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()


def finish_training(folder, models=(PAIRING, PLAIN), folds=range(5)):
    finish(folder, "done/check", "done/plan", "done/preprocess", "done/split")
    finish(folder, *[f"done/train/{model}/fold_{fold}" for model in models for fold in folds])


def test_graph_has_every_step_and_every_fold(folder):
    assert counts(dry_run(folder)) == {
        "all": 1,
        "check": 1,
        "plan": 1,
        "preprocess": 1,
        "split": 1,
        "train": 10,
        "best": 1,
        "predict": 2,
        "ensemble_best": 1,
        "postprocess": 1,
        "score_crossvalidation": 3,  # two models and the best configuration
        "score_test": 4,  # two models, the best before and after post-processing
        "report": 1,
    }


def test_study_trains_and_compares_and_chooses_nothing(tmp_path, environment):
    study = WorkflowChoices(
        "137", ["ModalityPairingTrainer"], folds=[0], study=True, seeds=[0, 1], command="nnunet_ext workflow --study"
    )
    write_workflow(tmp_path / "study", study, environment)
    output = dry_run(tmp_path / "study")
    assert counts(output) == {
        "all": 1, "check": 1, "plan": 1, "preprocess": 1, "split": 1, "method_plans": 4, "train": 4, "study": 1,
        "report": 1,
    }  # fmt: skip
    line = next(line for line in output.splitlines() if "nnunet_ext step study" in line)
    assert line.count("ModalityDropoutTrainer__") == line.count("ModalityPairingTrainer__") == 2
    assert "-o study --command 'nnunet_ext workflow --study' -np 8" in line
    assert "--equal-time" not in line
    edit(tmp_path / "study", '"equal_time": false', '"equal_time": true')
    assert re.search("nnunet_ext step study .* -np 8 --equal-time >", dry_run(tmp_path / "study"))


def test_commands_are_complete(folder):
    output = dry_run(folder)
    model = f"the nnUNet_results/Dataset137_BraTS/{PLAIN}/fold_3'"
    train = next(line for line in output.splitlines() if "nnunet_ext step train" in line and model in line)
    assert re.search(
        r"-- +nnUNetv2_train 137 3d_fullres 3 -tr nnUNetTrainer +-p nnUNetPlans -device cuda -num_gpus 1 --npz$", train
    )
    assert f"nnunet_ext step best Dataset137_BraTS {PAIRING} {PLAIN} -f 0,1,2,3,4 -o best --ensembling -np 8" in output
    assert "nnUNetv2_plan_experiment -d 137 -pl ExperimentPlanner -overwrite_plans_name nnUNetPlans" in output
    assert "-f 0 1 2 3 4 -i '" in output


def test_every_word_of_a_command_is_quoted(folder):
    text = (folder / "Snakefile").read_text()
    commands = re.findall(r"shell:\n(.*?)\n(?=\S|$)", text, re.DOTALL)
    assert len(commands) == text.count("shell:") > 10
    words = [word for command in commands for word in re.findall(r"(?<!\{)\{([^{}]+)\}", command)]
    assert [word for word in words if not word.endswith(":q")] == ["threads"] * 2  # defaults of exported variables


def test_names_are_no_commands_even_where_the_schema_lets_them_pass(folder):
    schema, name = folder / "config.schema.yaml", "Dataset137_a$(touch X)b"
    schema.write_text(re.sub("dataset: .*", "dataset: {type: string}", schema.read_text()))
    edit(folder, "Dataset137_BraTS", name)
    (folder.parent / "the nnUNet_raw" / "Dataset137_BraTS").rename(folder.parent / "the nnUNet_raw" / name)
    output = dry_run(folder)
    assert f"nnunet_ext step split '{name}' -p nnUNetPlans" in output
    assert f"nnunet_ext step best '{name}' {PAIRING}" in output


def test_folders_are_no_commands_and_no_patterns(tmp_path, environment):
    images = tmp_path / "a 'b' \"c\" ;touch X;&é漢 [red]*?%s\n"
    images.mkdir()
    (images / "a_0000.nii.gz").touch()
    folder = tmp_path / "the workflow"
    write_workflow(folder, WorkflowChoices("137", ["nnUNetTrainer"], images=images, reference=images), environment)
    assert f"-i {shlex.quote(str(images))}" in dry_run(folder)
    assert not list(tmp_path.rglob("X"))
    for name in ("a{b}", "a<b>", "$(touch X)", "`touch X`", "a\\b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a_0000.nii.gz").touch()
        for choices, places in (({"images": tmp_path / name}, {}), ({}, {"nnUNet_results": str(tmp_path / name)})):
            wanted = WorkflowChoices("137", ["nnUNetTrainer"], **choices)
            with pytest.raises(WorkflowError, match=r"Snakemake takes .* Rename|Snakemake's SLURM .* Rename"):
                write_workflow(tmp_path / "w", wanted, environment | places)


def test_profile_is_read_in_a_folder_of_any_name_that_is_not_refused(tmp_path, environment):
    folder = tmp_path / "a 'b' \"c\" ;touch X;&é漢 %s\n#~!"
    write_workflow(folder, WorkflowChoices("137", ["nnUNetTrainer"]), environment)
    profile = folder / "profiles" / "default" / "config.yaml"
    profile.write_text(f"{profile.read_text()}\nunknown-option: true\n")
    assert "unrecognized arguments: --unknown-option" in dry_run(folder, fails=True)
    assert not list(tmp_path.rglob("X"))


def test_finished_folds_are_not_repeated(folder):
    finish_training(folder, models=[PAIRING])
    finish(folder, f"done/train/{PLAIN}/fold_2")
    left = counts(dry_run(folder))
    assert left["train"] == 4
    assert not {"plan", "preprocess", "split"} & set(left)


@pytest.mark.parametrize("changed", ["done/plan", "done/preprocess", "done/split"])
def test_newer_preprocessing_repeats_no_training(folder, changed):
    finish_training(folder)
    os.utime(folder / changed, (2e9, 2e9))
    assert "train" not in counts(dry_run(folder))


def test_edited_resources_repeat_no_training(folder):
    finish_training(folder)
    edit(folder, "train: {threads: 12, mem_mb: 48000", "train: {threads: 4, mem_mb: 9000")
    assert "train" not in counts(dry_run(folder))


def test_one_more_fold_trains_that_fold_alone(folder):
    edit(folder, "folds: [0, 1, 2, 3, 4]", "folds: [0, 1]")
    finish_training(folder, folds=range(2))
    assert "train" not in counts(dry_run(folder))
    edit(folder, "folds: [0, 1]", "folds: [0, 1, 2]")
    assert counts(dry_run(folder))["train"] == 2


def test_method_plans_come_before_their_trainings_only(tmp_path, environment):
    folder = tmp_path / "workflow"
    choices = WorkflowChoices("137", ["ModalityPairingTrainer", "nnUNetTrainer"], assignments=["num_epochs=5"])
    write_workflow(folder, choices, environment)
    output = dry_run(folder)
    assert counts(output)["method_plans"] == 1
    name = plans_name("ModalityPairingTrainer", {"num_epochs": 5})
    assert f"-p nnUNetPlans -o {name} num_epochs=5 > logs/plans/{name}.log" in output
    assert "method_plans" not in counts(dry_run(folder, f"done/train/{PLAIN}/fold_0"))


def test_cascade_waits_for_every_fold_of_its_previous_stage(tmp_path, environment):
    folder = tmp_path / "workflow"
    choices = WorkflowChoices("137", ["nnUNetTrainer"], ["3d_lowres", "3d_cascade_fullres"], folds=[0, 1])
    write_workflow(folder, choices, environment)
    cascade = "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    assert counts(dry_run(folder, f"done/train/{cascade}/fold_0"))["train"] == 3
    output = dry_run(folder)
    assert "-c 3d_fullres 3d_lowres" in output  # the cascade trains on the data of 3d_fullres
    lowres = "predictions/models/nnUNetTrainer__nnUNetPlans__3d_lowres"
    assert f"-o predictions/models/{cascade} -prev_stage_predictions {lowres} " in output


def test_preprocessed_data_is_left_alone(tmp_path, environment):
    folder = tmp_path / "workflow"
    plans = Path(environment["nnUNet_preprocessed"], "Dataset137_BraTS", "nnUNetPlans.json")
    (plans.parent / "nnUNetPlans_3d").mkdir(parents=True)
    plans.write_text(json.dumps(Case().plans))
    write_workflow(folder, WorkflowChoices("137", ["nnUNetTrainer"], ["3d"], run_planning=False), environment)
    assert not {"plan", "preprocess"} & set(counts(dry_run(folder)))


def test_without_images_nothing_is_predicted(folder):
    edit(folder, "\n  images: ", "\n  images: null # ")
    assert not {"predict", "ensemble_best", "postprocess", "score_test"} & set(counts(dry_run(folder)))


def test_further_ensembles_are_made_and_scored(folder):
    edit(folder, "ensembles: {}", f"ensembles: {json.dumps({'both': [PAIRING, PLAIN]})}")
    output = dry_run(folder)
    assert counts(output)["ensemble"] == 1
    assert "scores/test/ensembles/both" in output


def test_uncertainty_is_estimated_for_every_ensemble_and_judged_with_its_scores(folder):
    edit(folder, "ensembles: {}", f"ensembles: {json.dumps({'both': [PAIRING, PLAIN]})}")
    assert not {"uncertainty", "uncertainty_best"} & set(counts(dry_run(folder)))
    edit(folder, "uncertainty: false", "uncertainty: true")
    output = dry_run(folder)
    assert (counts(output)["uncertainty"], counts(output)["uncertainty_best"]) == (1, 1)
    members = f"predictions/models/{PAIRING} predictions/models/{PLAIN}"
    assert f"nnunet_ext uncertainty -i {members} -o predictions/uncertainty/both -np 8" in output
    for name in ("best", "both"):
        assert f"-o scores/test/ensembles/{name} --uncertainty predictions/uncertainty/{name} " in output
    assert output.count(" --uncertainty ") == 2  # models alone and the post-processed result have no maps


def test_resources_of_a_rule_reach_the_executor(folder):
    edit(folder, "runtime: 2880, gpu: 1}", "runtime: 600, gpu: 2, slurm_partition: big}")
    output = dry_run(folder, f"done/train/{PLAIN}/fold_0", "--resources", "gpu=2")
    for resource in ("mem_mb=48000", "runtime=600", "gpu=2", "slurm_partition=big"):
        assert re.search(rf"resources: .*\b{resource}\b", output), output
    assert "-num_gpus 2" in output


def test_cpu_runs_ask_for_no_gpu(folder):
    edit(folder, 'device: "cuda"', 'device: "cpu"')
    assert "gpu=" not in dry_run(folder)


def test_gpus_of_one_machine_are_handed_out(folder):
    edit(folder, "devices: []", "devices: [0, 3]")
    assert "nnunet_ext step on-gpu --devices 0,3 --number 1 -- nnunet_ext step train" in dry_run(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("folds: [0, 1, 2, 3, 4]", "folds: [zero]", "folds"),
        ("ensembling: true", "ensembeling: true", "ensembeling"),
        ("report: {threads: 8", "report: {thraeds: 8", "threads"),
        ("nnUNetPlans", "nnUNet__Plans", "nnUNet__Plans"),
        ("ensembles: {}", 'ensembles: {"x": ["unknown"]}', "unknown not among the models"),
        ('dataset: "Dataset137_BraTS"', 'dataset: "Dataset137_BraTS$(touch X)"', "does not match"),
        ('dataset: "Dataset137_BraTS"', 'dataset: "Dataset137_BraTS\\n"', "does not match"),
        ('plans: "nnUNetPlans"\n', 'plans: "nnUNetPlans\\n"\n', "does not match"),
    ],
)
def test_mistakes_in_the_settings_are_named_before_anything_runs(folder, old, new, message):
    edit(folder, old, new)
    assert message in dry_run(folder, fails=True)
