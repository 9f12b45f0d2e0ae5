"""Dice from every subset of the modalities: trainers with and without modality dropout, at equal steps.

Plans, trains and predicts with the stock nnU-Net commands and scores with ``nnunet_ext subsets``; run again after an
interruption, it continues. The default data set is the generated phantom; ``--data`` takes a folder in nnU-Net's raw
format, whose cases that contain ``--test`` in their name are held out.

    python benchmarks/missing_modalities.py work --output benchmarks/results/missing_modalities_phantom.json
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_ext.datasets.phantom import write_phantom_dataset
from nnunet_ext.doctor import plugin_folder
from nnunet_ext.planning.command import write_method_plans

BIN = Path(sys.executable).parent
CONFIGURATION = "3d_fullres"
STEPS_PER_EPOCH = 100
# What shortens a published schedule of hundreds of epochs to a few; as in the first look at real four-channel data
SHORTENED = {
    "ModalityDropoutTrainer": {},
    "ModalityPairingTrainer": {"warmup_epochs": 1},
    "BiFPNClassifierTrainer": {"warmup_epochs": 1},
    "AttentionFusionTrainer": {"initial_lr": 0.001, "epochs_per_halving": 2},
    "AutoencoderRegularizedTrainer": {},
}
RARELY = 0.5  # modality_dropout that sees all modalities in every second sample
VARIANTS = (
    ("AttentionFusionTrainer", {"presence_aware": True}),
    ("ModalityPairingTrainer", {"empty_branch": "leave_out"}),
    ("AutoencoderRegularizedTrainer", {"restore_missing": False}),
)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        trainer: Name of the trainer.
        dropout: ``modality_dropout``.
        settings: Settings beside it, without those that shorten the schedule.
    """

    trainer: str
    dropout: float | str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def plans(self) -> str:
        """Name of its plans."""
        words = "".join(f"{name}{value}".replace("_", "") for name, value in self.settings.items())
        drop = "All" if self.dropout == 0 else "Drop" if self.dropout == "uniform" else f"Drop{100 * self.dropout:.0f}"
        return f"Study{self.trainer.removesuffix('Trainer')}{drop}{words}"


def runs(variants: bool) -> list[Run]:
    """The plain network, every trainer with dropout, the variants, and the methods without."""
    plain, *methods = [Run(trainer, 0) for trainer in SHORTENED]
    with_dropout = [Run(trainer, "uniform") for trainer in SHORTENED]
    own = [Run(trainer, "uniform", settings) for trainer, settings in VARIANTS] if variants else []
    rarely = [Run(plain.trainer, RARELY)] if variants else []
    return [plain, *with_dropout, *own, *rarely, *methods]


class Study:
    """Data set, trainings and scores below one folder.

    Args:
        root: The folder.
        arguments: The command line's.
    """

    def __init__(self, root: Path, arguments: argparse.Namespace):
        self.root, self.arguments = root.resolve(), arguments
        self.name = "Dataset901_Study"
        self.raw = self.root / "raw" / self.name
        self.environment = os.environ | {
            **{f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_extTrainer": str(plugin_folder()),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            # nnU-Net takes all cores on a CPU: threads that wait must not spin where two studies share them
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
        }

        os.environ.update(self.environment)

    def command(self, name: str, *arguments: object) -> None:
        """Run a command of the environment; its output goes to ``log.txt``."""
        with (self.root / "log.txt").open("a") as log:
            command = [str(BIN / name), *map(str, arguments)]
            subprocess.run(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, check=True)

    def prepare(self) -> None:
        """Write, plan and preprocess the data set; one training case is nnU-Net's validation set."""
        if not self.raw.exists():
            if self.arguments.data is None:
                arguments = self.arguments
                write_phantom_dataset(
                    self.raw, num_cases=arguments.cases, shape=arguments.shape, num_test_cases=arguments.test_cases
                )
            else:
                link_dataset(self.arguments.data, self.raw, self.arguments.test)
        folder = self.root / "preprocessed" / self.name
        if not (folder / f"nnUNetPlans_{CONFIGURATION}").is_dir():
            self.command("nnUNetv2_plan_and_preprocess", "-d", 901, "-c", CONFIGURATION, "-npfp", 1, "-np", 1)
        cases = sorted(path.name.removesuffix(".nii.gz") for path in (self.raw / "labelsTr").glob("*.nii.gz"))
        (folder / "splits_final.json").write_text(json.dumps([{"train": cases[:-1], "val": cases[-1:]}]))

    def run(self, run: Run) -> dict[str, Any]:
        """Train and score; what is there already is read."""
        model = self.root / "results" / self.name / f"{run.trainer}__{run.plans}__{CONFIGURATION}"
        settings = {
            "num_epochs": self.arguments.steps // STEPS_PER_EPOCH,
            "num_iterations_per_epoch": STEPS_PER_EPOCH,
            "num_val_iterations_per_epoch": 5,
            "save_every": 1,
            "modality_dropout": run.dropout,
            **SHORTENED[run.trainer],
            **run.settings,
        }
        changes = {"patch_size": list(self.arguments.patch), "batch_size": 2, "base_num_features": self.arguments.base}
        assignments = [f"{name}={json.dumps(value)}" for name, value in (settings | changes).items()]
        options = ["-tr", run.trainer, "-p", run.plans]
        if not (self.root / "preprocessed" / self.name / f"{run.plans}.json").exists():
            write_method_plans(
                self.name, run.trainer, run.plans, assignments=assignments, configurations=[CONFIGURATION]
            )
        start = time.monotonic()
        if not (model / "fold_0" / "checkpoint_final.pth").exists():
            self.command("nnUNetv2_train", 901, CONFIGURATION, 0, *options, "-device", "cpu", "--c")
        scores = self.root / "subsets" / run.plans
        if not (scores / "summary.json").exists():
            self.command("nnunet_ext", "subsets", model, "-i", self.raw / "imagesTs", "-r", self.raw / "labelsTs",
                         "-o", scores, "--disable_tta", "--device", "cpu")  # fmt: skip
        summary = json.loads((scores / "summary.json").read_text())
        print(f"{run.plans}: {summary['mean_over_subsets']['mean']:.3f} ({time.monotonic() - start:.0f} s)", flush=True)
        return {
            "trainer": run.trainer,
            "modality_dropout": run.dropout,
            "settings": SHORTENED[run.trainer] | run.settings,
            **summary,
        }


def link_dataset(source: Path, target: Path, test: str) -> None:
    """Make a raw data set of links whose cases with ``test`` in their name are held out."""
    content = json.loads((source / "dataset.json").read_text())
    for kind in ("images", "labels"):
        for split in ("Tr", "Ts"):
            (target / f"{kind}{split}").mkdir(parents=True)
        for path in sorted((source / f"{kind}Tr").iterdir()):
            (target / f"{kind}{'Ts' if test in path.name else 'Tr'}" / path.name).symlink_to(path.resolve())
    content["numTraining"] = len(list((target / "labelsTr").iterdir()))
    (target / "dataset.json").write_text(json.dumps(content))


def study_parser(
    description: str | None, *, cases: int, shape: tuple[int, int, int], steps: int, patch: tuple[int, int, int]
) -> argparse.ArgumentParser:
    """Parser with the options of every study, with their defaults.

    Args:
        description: Of the script.
        cases: Training cases of the phantom.
        shape: Voxels of a case of the phantom.
        steps: Training steps of each run.
        patch: Voxels of the patch.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="working folder; kept, so that the study can continue")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--data", type=Path, help="raw data set of one's own")
    parser.add_argument("--test", default="", help="with --data: part of the names of the cases to hold out")
    parser.add_argument("--cases", type=int, default=cases, help="training cases of the phantom")
    parser.add_argument("--test-cases", type=int, default=6, help="test cases of the phantom")
    parser.add_argument("--shape", type=int, nargs=3, default=shape, help="voxels of a case of the phantom")
    parser.add_argument("--steps", type=int, default=steps, help="training steps of each run")
    parser.add_argument("--patch", type=int, nargs=3, default=patch, help="voxels of the patch")
    parser.add_argument("--base", type=int, default=8, help="features of the first stage")
    return parser


def without_rows(arguments: argparse.Namespace, cases: dict[str, Any]) -> dict[str, Any]:
    """What is stored beside the rows of a study.

    Args:
        arguments: Of :func:`study_parser`.
        cases: What is to be said of the cases.
    """
    return {
        "device": "cpu, one thread",
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("nnunetv2", "torch", "nnunet_ext")},
        "data": "phantom" if arguments.data is None else arguments.data.name,
        **cases,
        "steps": arguments.steps,
        "batch_size": 2,
        "patch_size": list(arguments.patch),
        "base_num_features": arguments.base,
        "rows": [],
    }


def main() -> None:
    """Run the study and store its rows."""
    parser = study_parser(__doc__, cases=16, shape=(40, 48, 44), steps=600, patch=(32, 32, 32))
    parser.add_argument(
        "--variants", action="store_true", help="also the methods' own settings for it, and dropout half of the time"
    )
    arguments = parser.parse_args()
    study = Study(arguments.folder, arguments)
    study.root.mkdir(parents=True, exist_ok=True)
    study.prepare()
    cases = {
        **({} if arguments.data else {"shape": list(arguments.shape), "test_cases": arguments.test_cases}),
        "training_cases": len(list((study.raw / "labelsTr").iterdir())) - 1,  # one is nnU-Net's validation set
    }
    content = without_rows(arguments, cases)
    for run in runs(arguments.variants):
        content["rows"].append(study.run(run))
        arguments.output.write_text(json.dumps(content, indent=4) + "\n")


if __name__ == "__main__":
    main()
