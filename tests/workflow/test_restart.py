"""Jobs at once, kill -9 and a second start, with commands that only write down that they were called.

What is nnU-Net's is replaced; Snakemake, the Snakefile and ``nnunet_ext step train`` are the real ones. test_run.py
does the same with nnU-Net.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from nnunet_ext.testing import Case
from nnunet_ext.workflow.choices import WorkflowChoices
from nnunet_ext.workflow.write import write_workflow

BIN = Path(sys.executable).parent
SNAKEMAKE = shutil.which("snakemake", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(SNAKEMAKE is None, reason='Snakemake is not installed: pip install ".[workflow]"')

MODELS = ("ModalityPairingTrainer__nnUNetPlans__3d_fullres", "nnUNetTrainer__nnUNetPlans__3d_fullres")

# writes what nnU-Net writes, and stays in training while the file "hold" is there, except in fold 0
TRAIN = """
folder="$nnUNet_results/Dataset137_BraTS/$5__$7__$2/fold_$3"
echo "begin ${folder##*Dataset137_BraTS/} ${*: -1}" >> "$CALLS"
cp "$CALLS.zip" "$folder/checkpoint_latest.pth"
while [ "$3" != 0 ] && [ -f "$CALLS.hold" ]; do sleep 0.1; done
sleep 0.3
mv "$folder/checkpoint_latest.pth" "$folder/checkpoint_final.pth"
echo "end ${folder##*Dataset137_BraTS/}" >> "$CALLS"
"""
# the step that is tested is the real one
NNUNET_EXT = f"""
if [ "$1 $2" = "step train" ]; then exec {sys.executable} -m nnunet_ext "$@"; fi
echo "$*" >> "$CALLS"
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then output="$2"; fi; shift; done
case "$output" in
    best) mkdir best best/crossvalidation; printf '{MODELS[1]}\\n{MODELS[0]}\\n' > best/models.txt ;;
    report.html) touch report.html ;;
    scores/*|predictions/uncertainty/*) mkdir -p "$output" ;;
esac
"""
WRITES_FOLDER = """
echo "$(basename "$0") $*" >> "$CALLS"
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then mkdir "$2"; fi; shift; done
"""
COMMANDS = {
    "nnUNetv2_train": TRAIN,
    "nnunet_ext": NNUNET_EXT,
    **dict.fromkeys(("nnUNetv2_predict", "nnUNetv2_ensemble", "nnUNetv2_apply_postprocessing"), WRITES_FOLDER),
    **dict.fromkeys(("nnUNetv2_extract_fingerprint", "nnUNetv2_plan_experiment", "nnUNetv2_preprocess"), WRITES_FOLDER),
}


class Stage:
    """A workflow with replaced commands, and what they wrote down."""

    def __init__(self, root):
        self.folder, self.calls_file = root / "workflow", root / "calls"
        environment = {name: str(root / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        dataset = root / "nnUNet_raw" / "Dataset137_BraTS"
        for name in ("imagesTs", "labelsTs"):
            (dataset / name).mkdir(parents=True)
            (dataset / name / "a.nii.gz").touch()
        (dataset / "dataset.json").write_text(json.dumps(Case().dataset_json))
        trainers = [model.split("__")[0] for model in MODELS]
        write_workflow(self.folder, WorkflowChoices("137", trainers, folds=(0, 1), device="cpu"), environment)
        config = self.folder / "config.yaml"
        text = config.read_text().replace("train: {threads: 12", "train: {threads: 1")
        config.write_text(text.replace("uncertainty: false", "uncertainty: true"))
        with zipfile.ZipFile(f"{self.calls_file}.zip", "w") as archive:
            archive.writestr("data", "checkpoint")
        (root / "bin").mkdir()
        for name, script in COMMANDS.items():
            file = root / "bin" / name
            file.write_text(f"#!/usr/bin/env bash\nset -e\n{script}\n")
            file.chmod(0o755)
        path = os.pathsep.join([str(root / "bin"), str(BIN), os.environ["PATH"]])
        self.environment = os.environ | environment | {"PATH": path, "CALLS": str(self.calls_file)}

    def start(self, *arguments):
        command = [SNAKEMAKE, "--cores", "2", *arguments]
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True, **piped)

    def finish(self, *arguments):
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def calls(self, word):
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line for line in lines if line.startswith(word)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Killed while some folds are finished and two are in training, then run to its end."""
    stage = Stage(tmp_path_factory.mktemp("the stage"))
    hold = Path(f"{stage.calls_file}.hold")
    hold.touch()
    process = stage.start()
    deadline = time.time() + 300
    try:
        # both folds 0 are done when both folds 1 are in training: two jobs at a time
        while not (
            len(list((stage.folder / "done" / "train").glob("*/fold_0"))) == 2 and len(stage.calls("begin")) == 4
        ):
            assert process.poll() is None, process.communicate()[0]
            assert time.time() < deadline, stage.calls("")
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    stage.before = stage.calls("")
    hold.unlink()
    stage.finish("--unlock")
    stage.output = stage.finish()
    return stage


def test_two_trainings_run_at_once_and_never_three(stage):
    running, most = 0, 0
    for line in stage.before:
        running += line.startswith("begin") - line.startswith("end")
        most = max(most, running)
    assert most == 2


def test_finished_folds_are_not_repeated_and_interrupted_ones_continue(stage):
    again = stage.calls("")[len(stage.before) :]
    begun = sorted(line for line in again if line.startswith("begin"))
    assert begun == [f"begin {model}/fold_1 --c" for model in sorted(MODELS)]
    before_training = ("step split", "nnUNetv2_extract_fingerprint", "nnUNetv2_plan_experiment", "nnUNetv2_preprocess")
    assert all(len(stage.calls(word)) == 1 for word in before_training)


def test_new_training_gets_no_option_to_continue(stage):
    begun = [line for line in stage.before if line.startswith("begin")]
    assert sorted(begun) == sorted(f"begin {model}/fold_{fold} --npz" for model in MODELS for fold in (0, 1))


def test_members_of_the_best_ensemble_are_averaged_and_post_processed(stage):
    members = " ".join(f"predictions/models/{model}" for model in MODELS[::-1])
    assert stage.calls("nnUNetv2_ensemble") == [f"nnUNetv2_ensemble -i {members} -o predictions/ensembles/best -np 2"]
    (call,) = stage.calls("nnUNetv2_apply_postprocessing")
    assert "-i predictions/ensembles/best -o predictions/final -pp_pkl_file best/postprocessing.pkl" in call


def test_members_of_the_best_ensemble_are_compared(stage):
    members = " ".join(f"predictions/models/{model}" for model in MODELS[::-1])
    assert stage.calls("uncertainty") == [f"uncertainty -i {members} -o predictions/uncertainty/best -np 2"]


def test_nothing_is_left_to_do(stage):
    assert "Nothing to be done" in stage.finish("-n")


def test_trained_fold_without_its_mark_is_only_validated(stage):
    (stage.folder / "done" / "train" / MODELS[0] / "fold_0").unlink()
    lines = len(stage.calls("begin"))
    stage.finish(f"done/train/{MODELS[0]}/fold_0")
    assert stage.calls("begin")[lines:] == [f"begin {MODELS[0]}/fold_0 --val"]
