"""The whole workflow on generated data: killed in the middle, started again, and nothing done twice."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import torch
from workspace import BIN, Workspace

from nnunet_ext.datasets.phantom import write_phantom_dataset
from nnunet_ext.planning.plans_file import parse_assignments
from nnunet_ext.planning.plans_name import plans_name

SNAKEMAKE = shutil.which("snakemake", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(SNAKEMAKE is None, reason='Snakemake is not installed: pip install ".[workflow]"'),
]

DATASET, TRAINER, EPOCHS, FOLDS = "Dataset999_Phantom", "ModalityPairingTrainer", 4, (0, 1)
SETTINGS = (
    f"num_epochs={EPOCHS} num_iterations_per_epoch=3 num_val_iterations_per_epoch=1 save_every=1 "
    "base_num_features=4 warmup_epochs=1"
).split()
PLANS = (plans_name(TRAINER, parse_assignments(SETTINGS)), "WithoutPairing")
MODELS = tuple(f"{TRAINER}__{plans}__3d_fullres" for plans in PLANS)


class Run:
    """A workflow in a workspace, and what Snakemake made of it."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.folder = workspace.folder("workflow")
        self.results = workspace.folder("results") / DATASET

    def start(self, *arguments):
        """Snakemake with everything that it starts in a session of its own."""
        environment = self.workspace.environment
        environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
        return subprocess.Popen(
            [SNAKEMAKE, "--cores", "2", *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def finish(self, *arguments):
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == 0, output[-6000:]
        return output

    def fold(self, model, fold):
        return self.results / model / f"fold_{fold}"

    def finished(self):
        """Folds whose training and validation is done."""
        marks = (self.folder / "done" / "train").glob("*/fold_*")
        return {(mark.parent.name, int(mark.name.removeprefix("fold_"))) for mark in marks}

    def epochs(self, model, fold):
        """Epochs in the training logs, one list a start."""
        logs = sorted(self.fold(model, fold).glob("training_log_*.txt"))
        return [[int(epoch) for epoch in re.findall(r"\bEpoch (\d+)\b", log.read_text())] for log in logs]


ALL_FOLDS = {(model, fold) for model in MODELS for fold in FOLDS}


def kill_all(process):
    """Kill -9 the session of a process, workers that left its group included."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(entry)) == process.pid:
                os.kill(int(entry), signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workflow that was killed while one fold was finished and another in training, and then run to its end."""
    workspace = Workspace(tmp_path_factory.mktemp("the workspace"))
    write_phantom_dataset(workspace.folder("raw") / DATASET, num_cases=5, shape=(24, 24, 24), seed=0, num_test_cases=1)
    folds = [word for fold in FOLDS for word in ("-f", fold)]
    options = ("-d", 999, "-tr", TRAINER, *folds, "-device", "cpu", "-o", workspace.folder("workflow"))
    workspace.run("nnunet_ext", "workflow", *options, *SETTINGS)
    run = Run(workspace)
    add_second_model(run.folder / "config.yaml")
    process = run.start()
    deadline = time.time() + 1200
    try:
        while not in_the_middle(run):
            assert process.poll() is None, process.communicate()[0][-6000:]
            assert time.time() < deadline, "the workflow did not get to its middle"
            time.sleep(0.02)
    finally:
        kill_all(process)
    run.finished_before = run.finished()
    run.epochs_before = {job: run.epochs(*job) for job in ALL_FOLDS}
    run.checkpoints_before = {job: run.fold(*job).joinpath("checkpoint_final.pth") for job in run.finished_before}
    run.times_before = {job: file.stat().st_mtime_ns for job, file in run.checkpoints_before.items()}
    run.finish("--unlock")
    run.output = run.finish()
    return run


def add_second_model(file):
    """The same trainer with other settings, and one thread a training so that two run at once."""
    text = file.read_text()
    arguments = json.dumps([*SETTINGS, "pairing_weight=0"])
    plans = f'  {PLANS[1]}: {{"trainer": "{TRAINER}", "arguments": {arguments}}}\n'
    model = f'  - {{"trainer": "{TRAINER}", "plans": "{PLANS[1]}", "configuration": "3d_fullres"}}\n'
    text = re.sub(r"(method_plans:\n.*\n)", lambda match: match[0] + plans, text)
    text = re.sub(r"(\nmodels:\n.*\n)", lambda match: match[0] + model, text)
    text = text.replace("ensembling: false", "ensembling: true")
    file.write_text(re.sub(r"threads: \d+", "threads: 1", text))


def in_the_middle(run):
    """Whether a fold is finished while another has saved a checkpoint and is not at its end."""
    training = [run.fold(*job) for job in ALL_FOLDS - run.finished()]
    return run.finished() and any(
        (fold / "checkpoint_latest.pth").is_file() and not (fold / "checkpoint_final.pth").exists() for fold in training
    )


def test_finished_folds_are_not_repeated(run):
    assert run.finished_before
    assert run.finished_before < ALL_FOLDS
    for job in run.finished_before:
        assert run.epochs(*job) == [list(range(EPOCHS))]
        assert run.checkpoints_before[job].stat().st_mtime_ns == run.times_before[job]
    assert re.findall(r"^train +(\d+)$", run.output, re.MULTILINE)[0] == str(len(ALL_FOLDS - run.finished_before))
    assert not re.search(r"rule (plan|preprocess|split|method_plans):", run.output)


def test_interrupted_training_continues(run):
    interrupted = {
        job for job in ALL_FOLDS - run.finished_before if len(run.epochs_before[job]) and run.epochs_before[job][0]
    }
    continued = [run.epochs(*job) for job in interrupted]
    assert any(len(starts) == 2 and starts[1] and starts[1][0] >= 1 for starts in continued), continued
    for job in ALL_FOLDS:
        checkpoint = torch.load(run.fold(*job) / "checkpoint_final.pth", map_location="cpu", weights_only=False)
        assert checkpoint["current_epoch"] == EPOCHS
        assert len(checkpoint["logging"]["train_losses"]) == EPOCHS


def test_two_trainings_ran_at_once(run):
    times = []
    for job in ALL_FOLDS:
        first = run.fold(*job).glob("training_log_*.txt")
        text = min(first).read_text()
        stamps = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+):", text, re.MULTILINE)
        times.append((stamps[0], stamps[-1]))
    assert any(a[0] < b[1] and b[0] < a[1] for a in times for b in times if a is not b)


def test_all_folds_used_one_split(run):
    splits = json.loads((run.workspace.folder("preprocessed") / DATASET / "splits_final.json").read_text())
    for model, fold in ALL_FOLDS:
        cases = {file.name.removesuffix(".npz") for file in (run.fold(model, fold) / "validation").glob("*.npz")}
        assert cases == set(splits[fold]["val"])


def test_best_configuration_is_predicted_and_post_processed(run):
    best = (run.folder / "best" / "models.txt").read_text().split()
    information = json.loads((run.results / "inference_information.json").read_text())
    chosen = information["best_model_or_ensemble"]["selected_model_or_models"]
    assert best == [f"{model['trainer']}__{model['plans_identifier']}__{model['configuration']}" for model in chosen]
    assert set(best) <= set(MODELS)
    assert len(information["all_results"]) == 3  # two models and their ensemble
    (image,) = (run.folder / "predictions" / "final").glob("*.nii.gz")
    assert image.name == "phantom_ts000.nii.gz"


def test_scores_and_report_are_there(run):
    folders = [f"crossvalidation/{name}" for name in (*MODELS, "best")]
    folders += [f"test/models/{model}" for model in MODELS] + ["test/ensembles/best", "test/final"]
    for folder in folders:
        assert (run.folder / "scores" / folder / "metrics.csv").is_file()
    page = (run.folder / "report.html").read_text()
    assert all(plans in page for plans in PLANS)


def test_nothing_is_left_to_do(run):
    assert "Nothing to be done" in run.finish("-n")
