"""Names with quotes, spaces, line breaks, `$()`, `;`, `../` and letters of all alphabets, on every command.

A name goes through, or is refused with a reason. It is never run, and nothing is written but where the user said.
"""

import json
import os
import shlex
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from label_cases import BRATS_LABELS, tumour, write_image
from model_folders import model_folder, studied_model
from saved_predictions import two_classes, write_predictions
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import UserError
from nnunet_ext.testing import Case
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers import (
    AttentionFusionTrainer,
    BiFPNClassifierTrainer,
    ModalityDropoutTrainer,
    ModalityPairingTrainer,
)

NAMES = {
    "one line": "a 'b' \"c\" $(touch PWNED)`touch PWNED`;touch PWNED;&é漢 [red]<b>{x}%s \\",
    "two lines": "a\nb $(touch PWNED)\n;touch PWNED",
}
PATHS = {**NAMES, "above": "../up", "far above": "../../../up", "below": "a/b", "root": "/PWNED", "option": "--help-me"}
CHANNELS = ("T1", "T1ce")


def image(seed=0):
    values = np.zeros((10, 12, 14), np.float32)
    values[1:9, 1:11, 1:13] = np.random.default_rng(seed).uniform(10, 100, (8, 10, 12))
    return values


def dataset_json(label="lesion", channel="T1ce"):
    names = {"0": "T1", "1": channel}
    return {"channel_names": names, "labels": {"background": 0, label: 1}, "numTraining": 1, "file_ending": ".nii.gz"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of two channels whose labels are those of the images below."""
    return model_folder(AttentionFusionTrainer, Case(channels=CHANNELS, dimension=3), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model with a slice classifier."""
    return model_folder(BiFPNClassifierTrainer, Case(channels=CHANNELS), tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """nnU-Net's folders; `out` is the only one that commands may write to."""
    for folder in ("raw", "preprocessed", "results", "out", "here"):
        (tmp_path / folder).mkdir()
    for folder in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{folder}", str(tmp_path / folder))
    monkeypatch.setenv("nnUNet_extTrainer", str(plugin_folder()))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def write_cases(root, case, label="lesion", channel="T1ce"):
    """Images, references and predictions of a case, in a data set of the usual name."""
    folder = root / "raw" / "Dataset001_A"
    for number in range(2):
        write_image(folder / "imagesTr" / f"{case}_{number:04d}.nii.gz", image(number))
    for name in ("labelsTr", "predicted"):
        write_image(folder / name / f"{case}.nii.gz", (tumour() > 0).astype(np.uint8))
    (folder / "dataset.json").write_text(json.dumps(dataset_json(label, channel)))
    return folder


def run(root, *arguments, into=("out",)):
    """Run a command; True where it did what it was asked for, False where it refused with a reason."""
    kept = {path for path in root.rglob("*") if path.relative_to(root).parts[0] not in into}
    outside = set(root.parent.iterdir())
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert not list(root.rglob("PWNED*"))
    assert not Path("/PWNED").exists()
    assert {path for path in root.rglob("*") if path.relative_to(root).parts[0] not in into} == kept
    assert set(root.parent.iterdir()) == outside
    if isinstance(result.exception, UserError | OSError):  # which the command line prints as one message
        assert str(result.exception).strip()
        return False
    if isinstance(result.exception, SystemExit | None):
        return result.exit_code == 0
    raise result.exception


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
class TestCaseNames:
    """Names of files."""

    def test_check(self, root, name):
        folder = write_cases(root, name)
        assert run(root, "check", folder / "imagesTr", "-d", 1, "-np", 1)

    def test_complete(self, root, name):
        folder = write_cases(root, name)
        (folder / "imagesTr" / f"{name}_0001.nii.gz").unlink()
        assert run(root, "complete", folder / "imagesTr", root / "out" / "complete", "-d", 1, "-np", 1)
        assert (root / "out" / "complete" / f"{name}_0001.nii.gz").is_file()

    def test_evaluate(self, root, name):
        folder = write_cases(root, name, label=name)
        arguments = ["-o", root / "out" / name, "--images", folder / "imagesTr", "-np", 1]
        assert run(root, "evaluate", folder / "labelsTr", folder / "predicted", *arguments)
        assert name in json.loads((root / "out" / name / "summary.json").read_text())["regions"]

    def test_postprocess(self, root, name):
        folder = write_cases(root, name, label=name)
        labels = tumour() > 0
        labels[0, 0, 0] = True
        for case in (name, f"{name}2"):
            write_image(folder / "predicted" / f"{case}.nii.gz", labels.astype(np.uint8))
            write_image(folder / "labelsTr" / f"{case}.nii.gz", (tumour() > 0).astype(np.uint8))
        out = root / "out" / f"{name}.pkl"
        assert run(root, "postprocess", "determine", folder / "predicted", folder / "labelsTr", "-o", out, "-np", 1)
        assert run(root, "postprocess", "show", out)

    def test_convert(self, root, name):
        case = root / "source" / name
        for channel in ("t1n", "t1c", "t2w", "t2f"):
            write_image(case / f"{name}-{channel}.nii.gz", image())
        write_image(case / f"{name}-seg.nii.gz", tumour())
        run(root, "convert", "brats", root / "source", "-d", 2, "-np", 1, into=("out", "raw"))

    def test_convert_labels(self, root, name):
        folder = write_cases(root, name)
        content = dataset_json() | {"labels": BRATS_LABELS, "regions_class_order": [2, 1, 3]}
        (folder / "predicted" / "dataset.json").write_text(json.dumps(content))
        write_image(folder / "predicted" / f"{name}.nii.gz", tumour())
        assert run(root, "convert", "brats-labels", folder / "predicted", root / "out" / name, "--style", "2020")

    def test_report(self, root, model, name):
        folder = write_cases(root, name)
        copy = root / "results" / "A__P__3d"
        shutil.copytree(model, copy)
        (copy / "fold_0" / "validation").mkdir()
        shutil.copy(folder / "predicted" / f"{name}.nii.gz", copy / "fold_0" / "validation")
        output = root / "out" / f"{name}.html"
        assert run(root, "report", copy, "-o", output, "--reference", folder / "labelsTr", "-np", 1)
        assert "[red]<b>" not in output.read_text()

    def test_strip_and_attention(self, root, model, name):
        copy = root / "results" / name
        shutil.copytree(model, copy)
        folder = write_cases(root, name)
        files = sorted((folder / "imagesTr").iterdir())
        assert run(root, "strip", copy, "-o", root / "out" / name)
        assert run(root, "attention", copy, *files, "-o", root / "out" / f"{name}.png", "--device", "cpu")

    def test_subsets(self, root, model, name):
        folder = write_cases(root, name)
        options = ["-o", root / "out" / name, "--keep", "T1", "--device", "cpu", "--disable_tta"]
        assert run(root, "subsets", model, "-i", folder / "imagesTr", "-r", folder / "labelsTr", *options)

    def test_slices(self, root, classifier, name):
        images = write_cases(root, name) / "imagesTr"
        assert run(root, "slices", classifier, "-i", images, "-o", root / "out" / name, "--device", "cpu")

    def test_uncertainty(self, root, model, name):
        foreground = np.full((10, 12, 14), 0.2)
        foreground[2:8, 2:9, 2:9] = 0.8
        content = dataset_json(label=name) | {"channel_names": {"0": "T1"}}
        folds = [root / "data" / f"fold_{index}" / "validation" for index in range(2)]
        for index, fold in enumerate(folds):
            write_predictions(fold, content, {f"{name}{index}": two_classes(foreground)})
            write_image(root / "labelsTr" / f"{name}{index}.nii.gz", (foreground > 0.5).astype(np.uint8))
        again = shutil.copytree(folds[0], root / "again")
        assert run(root, "uncertainty", folds[0], again, "-o", root / "out" / name, "--flag-below", 1, "-np", 1)
        fitted = root / "out" / f"{name}.json"
        assert run(root, "calibrate", *folds, "-r", root / "labelsTr", "-o", fitted, "-np", 1)
        assert run(root, "apply-calibration", fitted, "-i", again, "-o", root / "out" / f"{name}2", "-np", 1)
        copy = shutil.copytree(model, root / "results" / "A__P__3d")
        shutil.copytree(folds[0], copy / "fold_0" / "validation")
        certainty = ["--uncertainty", root / "out" / name, "--calibration", fitted]
        options = ["-o", root / "out" / f"{name}.html", "--reference", root / "labelsTr", "-np", 1]
        assert run(root, "report", copy, *options, *certainty)
        page = (root / "out" / f"{name}.html").read_text()
        assert "Cases to look at" in page
        assert "[red]<b>" not in page

    def test_transfer(self, root, model, name):
        dataset = root / "preprocessed" / f"Dataset003_{name}"
        dataset.mkdir()
        (dataset / "dataset.json").write_text(json.dumps(dataset_json(label=name)))
        (dataset / "nnUNetPlans.json").write_text(json.dumps(Case(channels=CHANNELS).plans))
        copy = shutil.copytree(model, root / "results" / name)
        assert run(root, "transfer", copy, "-d", dataset.name, "-o", root / "out" / f"{name}.pth", "--json")
        assert (root / "out" / f"{name}.pth").is_file()

    def test_study(self, root, name):
        models = [
            studied_model(root / "results" / name, trainer, 0, {name: tumour()}, **settings)
            for trainer, settings in ((ModalityDropoutTrainer, {"modality_dropout": 0}), (ModalityPairingTrainer, {}))
        ]
        options = ["-o", root / "out" / name, "--command", name, "-np", 1]
        assert run(root, "step", "study", *models, *options)
        assert name in yaml.safe_load((root / "out" / name / "results.yaml").read_text())["rows"][0]["command"]

    def test_search_path(self, root, name, monkeypatch):
        place = root / "here" / name
        place.mkdir()
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            monkeypatch.setenv(variable, str(place))
        monkeypatch.setenv("nnUNet_extTrainer", str(place))
        assert run(root, "path")
        assert run(root, "list")
        assert not run(root, "doctor")  # our trainers are not there

    def test_commands_of_steps(self, root, name, monkeypatch):
        """Turned into, word for word, without a shell."""
        commands = []
        monkeypatch.setattr(os, "execvp", lambda file, words: commands.append((file, words)))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(tempfile, "tempdir", str(root / "out"))
        assert run(root, "step", "train", root / "out" / name, "--", "nnUNetv2_train", name)
        assert run(root, "step", "on-gpu", "--devices", "7", "--", name, name)
        assert commands == [("nnUNetv2_train", ["nnUNetv2_train", name]), (name, [name, name])]
        assert (root / "out" / name).is_dir()
        assert not run(root, "step", "on-gpu", "--devices", name, "--", "true")


@pytest.mark.parametrize("name", [*NAMES.values(), "a b", "a'b"])
def test_commands_to_type_have_names_as_one_word(root, model, name):
    folder = write_cases(root, "a")
    (folder / "imagesTr" / "a_0001.nii.gz").unlink()
    workflow = ["workflow", "-d", 1, "-tr", "nnUNetTrainer", "-o"]
    for number, arguments in enumerate((["strip", model, "-o"], ["complete", folder / "imagesTr", "-d", 1], workflow)):
        output = root / "out" / f"{name}{number}"
        result = CliRunner().invoke(app, [*map(str, arguments), str(output)])
        if result.exception is None:
            typed = result.output.partition("Predict with: " if number < 2 else "Look: ")[2]
            assert str(output) in shlex.split(typed.partition("  (a model")[0].partition("\nRun: ")[0])
        else:
            assert number == 2  # which Snakemake would not read, or a cluster run
            assert "$" in name


@pytest.mark.parametrize("name", PATHS.values(), ids=PATHS)
class TestNamesThatAreTyped:
    """Names of data sets, plans, trainers, models and folds."""

    @pytest.fixture
    def dataset(self, root, name):
        """A data set of this name, where a folder can have it."""
        if "/" not in name:
            folder = write_cases(root, "a")
            for place in ("raw", "preprocessed"):
                (root / place / f"Dataset003_{name}").mkdir()
            (root / "raw" / f"Dataset003_{name}" / "imagesTs").mkdir()
            shutil.copy(folder / "dataset.json", root / "raw" / f"Dataset003_{name}")
        return f"Dataset003_{name}"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["plan", "-tr", "ModalityPairingTrainer"],
            ["plan", "-tr", "ModalityPairingTrainer", "--gpu-memory", "8"],
            ["workflow", "-tr", "ModalityPairingTrainer", "-o", "out/w"],
            ["workflow", "-tr", "ModalityPairingTrainer", "-o", "out/w", "--preprocessed"],
            ["workflow", "-tr", "ModalityPairingTrainer", "--study", "-o", "out/w"],
            ["transfer", "MODEL", "-o", "out/w.pth"],
            ["check", "raw/Dataset001_A/imagesTr"],
            ["complete", "raw/Dataset001_A/imagesTr", "out/complete"],
        ],
        ids=" ".join,
    )
    def test_data_set(self, root, model, dataset, arguments, monkeypatch):
        monkeypatch.chdir(root)
        arguments = [model if argument == "MODEL" else argument for argument in arguments]
        done = run(root, *arguments, "-d", dataset)
        if arguments[0] in ("check", "complete"):
            assert done == ("/" not in dataset)
        else:  # a workflow takes words of letters, digits and "_.+-"; nothing here has been preprocessed
            assert done == (dataset.endswith("--help-me") and arguments[-1] == "out/w")

    def test_data_set_of_a_step(self, root, dataset):
        assert not run(root, "step", "split", dataset)
        assert not run(root, "step", "best", dataset, "A__B__3d", "-o", root / "out" / "best")

    @pytest.mark.parametrize("option", ["-p", "-o", "-tr", "-c"])
    def test_plan(self, root, name, option):
        write_cases(root, "a")
        (root / "preprocessed" / "Dataset001_A").mkdir()
        (root / "preprocessed" / "Dataset001_A" / "nnUNetPlans.json").write_text(json.dumps(Case().plans))
        trainer = [] if option == "-tr" else ["-tr", "ModalityPairingTrainer"]
        assert not run(root, "plan", "-d", 1, *trainer, option, name)

    @pytest.mark.parametrize("assignment", ["{}=1", "num_epochs={}", "{}:num_epochs=1", "modality_groups=[[T1],[{}]]"])
    def test_settings(self, root, name, assignment):
        write_cases(root, "a")
        (root / "preprocessed" / "Dataset001_A").mkdir()
        (root / "preprocessed" / "Dataset001_A" / "nnUNetPlans.json").write_text(json.dumps(Case().plans))
        trainer = ["-d", 1, "-tr", "ModalityPairingTrainer"]
        setting = assignment.replace("{}", name)
        assert not run(root, "plan", *trainer, "--", setting)
        assert not run(root, "workflow", *trainer, "-o", root / "out" / "w", "--", setting)
        assert not run(root, "workflow", *trainer, "-o", root / "out" / "w", "--study", "--", setting)

    @pytest.mark.parametrize("option", ["-p", "-tr", "-c", "-f", "-chk"])
    def test_transfer(self, root, model, name, option):
        dataset = root / "preprocessed" / "Dataset001_A"
        dataset.mkdir()
        (dataset / "dataset.json").write_text(json.dumps(dataset_json()))
        (dataset / "nnUNetPlans.json").write_text(json.dumps(Case(channels=CHANNELS).plans))
        assert not run(root, "transfer", model, "-d", 1, "-o", root / "out" / "a.pth", option, name)

    @pytest.mark.parametrize("option", ["-p", "-tr", "-c", "-pl"])
    def test_workflow(self, root, name, option):
        write_cases(root, "a")
        trainer = [] if option == "-tr" else ["-tr", "ModalityPairingTrainer"]
        assert not run(root, "workflow", "-d", 1, *trainer, "-o", root / "out" / "w", option, name)

    def test_new_data_set(self, root, name):
        write_image(root / "source" / "a" / "a-t1n.nii.gz", image())
        assert not run(root, "convert", "brats", root / "source", "-d", 2, "--name", name, into=("out", "raw"))

    def test_models_of_a_step(self, root, name):
        write_cases(root, "a")
        assert not run(root, "step", "best", "Dataset001_A", f"{name}__B__3d", "-o", root / "out" / "best")

    def test_fold_and_checkpoint(self, root, model, name):
        folder = write_cases(root, "a")
        files = sorted((folder / "imagesTr").iterdir())
        arguments = [model, *files, "-o", root / "out" / "a.png", "--device", "cpu"]
        for option in ("-f", "-chk"):
            assert not run(root, "attention", *arguments, option, name)
