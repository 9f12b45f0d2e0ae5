"""A study at equal steps on generated phantoms, one training at a time.

As ``nnunet_ext workflow --study``, whose steps these are, but without Snakemake: the caller says when a training
begins. One that was stopped goes on from its last epoch.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from nnunet_ext.datasets.phantom import write_phantom_dataset
from nnunet_ext.planning.command import write_method_plans
from nnunet_ext.planning.plans_file import parse_assignments
from nnunet_ext.planning.plans_name import DEFAULT_PLANS, plans_name
from nnunet_ext.study.repeats import PLAIN_NAME
from nnunet_ext.study.write import write_study
from nnunet_ext.trainer_search import plugin_folder
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.modality_dropout import ModalityDropoutTrainer
from nnunet_ext.workflow.choices import PLAIN_SETTING
from nnunet_ext.workflow.crossval_split import write_split

DATASET, CONFIGURATION, FOLD = "Dataset933_Phantom", "3d_fullres", 0
ROOT, COMMANDS = Path(__file__).parents[1], Path(sys.executable).parent


@dataclass(frozen=True)
class Training:
    """A trainer and what it is told beside the steps.

    Attributes:
        name: Name in tables.
        trainer: The trainer.
        settings: ``key=value`` entries.
    """

    name: str
    trainer: type[MethodTrainer]
    settings: tuple[str, ...] = ()


def trainings(trainers: Sequence[type[MethodTrainer]]) -> list[Training]:
    """Plain nnU-Net, then each trainer; a warm-up takes one epoch, since the papers' would be longer than the study."""
    found = [Training(PLAIN_NAME, ModalityDropoutTrainer, (PLAIN_SETTING,))]
    for trainer in trainers:
        warms_up = "warmup_epochs" in trainer.settings_class.__dataclass_fields__
        found.append(Training(trainer.__name__, trainer, ("warmup_epochs=1",) if warms_up else ()))
    return found


@dataclass(frozen=True)
class PhantomStudy:
    """Where and what is trained.

    Attributes:
        folder: nnU-Net's three folders, and a log of each command.
        device: ``"cuda"`` or ``"cpu"``.
        shape: Voxels of a case `(Z, Y, X)`.
        cases: Cases, a fifth of which is validated on.
        side: Side of the patch, voxels.
        base: Features of the first stage.
        epochs: Epochs of a training.
        steps: Training steps of a training, over all epochs.
    """

    folder: Path
    device: str
    shape: tuple[int, int, int]
    cases: int
    side: int
    base: int
    epochs: int
    steps: int

    def train(self, training: Training) -> dict[str, Any]:
        """Train and validate, or go on with it, or find it done."""
        self._prepare()
        settings = self._settings(training)
        with patch.dict(os.environ, self._environment):
            plans = write_method_plans(DATASET, training.trainer.__name__, None, settings).file.path.stem
        model = self._model(training)
        self._run(
            model.name,
            *(sys.executable, "-m", "nnunet_ext", "step", "train", model / f"fold_{FOLD}", "--"),
            *(COMMANDS / "nnUNetv2_train", DATASET, CONFIGURATION, FOLD, "-tr", training.trainer.__name__),
            *("-p", plans, "-device", self.device),
        )
        return {"model": model.name, "settings": settings}

    def compare(self, trained: Sequence[Training], output: Path) -> list[dict[str, Any]]:
        """Rows of the study, which are in ``output`` as well, with page and curves."""
        with patch.dict(os.environ, self._environment):
            return write_study([self._model(training) for training in trained], output, "make gpu", num_processes=1)

    def _settings(self, training: Training) -> list[str]:
        steps = self.steps // self.epochs
        return [
            f"num_epochs={self.epochs}",
            f"num_iterations_per_epoch={steps}",
            f"num_val_iterations_per_epoch={max(1, steps // 5)}",  # nnU-Net's ratio
            "save_every=1",
            "seed=0",
            f"patch_size={[self.side] * 3}",
            f"base_num_features={self.base}",
            *training.settings,
        ]

    def _model(self, training: Training) -> Path:
        trainer = training.trainer.__name__
        plans = plans_name(trainer, parse_assignments(self._settings(training)))
        return self.folder / "results" / DATASET / f"{trainer}__{plans}__{CONFIGURATION}"

    @property
    def _environment(self) -> dict[str, str]:
        processes = max(1, (os.cpu_count() or 1) - 2)
        return {
            **{f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_extTrainer": str(plugin_folder()),
            "nnUNet_compile": "false",  # minutes for some networks, which these few steps do not earn back
            "nnUNet_n_proc_DA": os.environ.get("nnUNet_n_proc_DA", str(processes)),
            "nnUNet_def_n_proc": os.environ.get("nnUNet_def_n_proc", "1"),  # few cases; each process imports PyTorch
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }

    def _prepare(self) -> None:
        """Generate, plan, preprocess and split, unless that was done."""
        if (self.folder / "preprocessed" / DATASET / "splits_final.json").exists():
            return
        raw = self.folder / "raw" / DATASET
        if not raw.exists():
            write_phantom_dataset(raw, num_cases=self.cases, shape=self.shape, num_test_cases=0)
        self._run(
            "preprocess",
            *("env", "nnUNet_n_proc_DA=1"),  # nnU-Net's planner takes it for threads, of which 0 are an error
            *(COMMANDS / "nnUNetv2_plan_and_preprocess", "-d", 933, "-c", CONFIGURATION, "-np", 1, "-npfp", 1),
        )
        with patch.dict(os.environ, self._environment):
            write_split(DATASET, DEFAULT_PLANS)

    def _run(self, log: str, *command: object) -> None:
        file = self.folder / f"{log}.log"
        with file.open("w") as output:
            done = subprocess.run(
                [str(word) for word in command],
                env=os.environ | self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode == 0:
            return
        text = file.read_text()
        if "OutOfMemoryError" in text:
            raise torch.OutOfMemoryError(text[-2000:])
        raise RuntimeError(f"Exit code {done.returncode}; {file} ends with\n{text[-4000:]}")
