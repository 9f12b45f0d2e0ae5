"""Smoke trainings on nnU-Net's residual-encoder plans, scaled down: nnU-Net's own training against the ideas beside it.

Plans with nnU-Net's planner for ResEnc M, trains and predicts with the stock commands at equal steps, and scores whole
held-out cases with ``nnunet_ext evaluate``; run again after an interruption, it continues. The default data set is the
generated phantom; ``--data`` takes a folder in nnU-Net's raw format, whose cases with ``--test`` in their name are held
out. It shows that the pieces work together; a few hundred steps say nothing about accuracy.

    python benchmarks/host_networks.py work --output benchmarks/results/host_networks_phantom_cpu.json
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from missing_modalities import CONFIGURATION, Study, study_parser, without_rows

EPOCHS = 10
PLANNED = "nnUNetResEncUNetMPlans"


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: Name in the table.
        trainer: Name of the trainer.
        settings: Settings that differ from its defaults, beside its length.
    """

    name: str
    trainer: str
    settings: dict[str, Any] = field(default_factory=dict)


RUNS = (
    # differs from nnUNetTrainer in the number of its steps alone
    Run("nnU-Net", "ModalityDropoutTrainer", {"modality_dropout": 0.0}),
    Run("branch", "HostAutoencoderTrainer"),
    Run("classifier", "HostClassifierTrainer"),
    Run("both", "HostAutoencoderTrainer", {"slice_classifier": True}),
    # a published schedule of hundreds of epochs shortened to these
    Run("pairing", "ModalityPairingTrainer", {"warmup_epochs": 1}),
    Run("attention", "AttentionFusionTrainer", {"initial_lr": 0.001, "epochs_per_halving": 3}),
)


class SmokeStudy(Study):
    """Data set, trainings and scores below one folder."""

    def prepare(self) -> None:
        """As the study of missing modalities, on plans of residual encoders."""
        super().prepare()
        folder = self.root / "preprocessed" / self.name
        if not (folder / f"{PLANNED}.json").exists():
            self.command("nnUNetv2_plan_experiment", "-d", 901, "-pl", "nnUNetPlannerResEncM")
        # both planners resample to the same spacing
        if not (folder / f"{PLANNED}_{CONFIGURATION}").exists():
            plans = json.loads((folder / f"{PLANNED}.json").read_text())
            data = folder / plans["configurations"][CONFIGURATION]["data_identifier"]
            if not data.exists():
                self.command("nnUNetv2_preprocess", "-d", 901, "-plans_name", PLANNED, "-c", CONFIGURATION, "-np", 1)

    def smoke(self, run: Run) -> dict[str, Any]:
        """Train and score; what is there already is read."""
        plans = f"Smoke{run.name.replace('-', '')}"
        model = self.root / "results" / self.name / f"{run.trainer}__{plans}__{CONFIGURATION}"
        settings = {
            "num_epochs": EPOCHS,
            "num_iterations_per_epoch": self.arguments.steps // EPOCHS,
            "num_val_iterations_per_epoch": 2,
            "save_every": 1,
            **run.settings,
        }
        changes = {"patch_size": list(self.arguments.patch), "batch_size": 2, "base_num_features": self.arguments.base}
        assignments = [f"{name}={json.dumps(value)}" for name, value in (settings | changes).items()]
        if not (self.root / "preprocessed" / self.name / f"{plans}.json").exists():
            self.command("nnunet_ext", "plan", "-d", 901, "-tr", run.trainer, "-p", PLANNED, "-o", plans, "-c",
                         CONFIGURATION, *assignments)  # fmt: skip
        start = time.monotonic()
        if not (model / "fold_0" / "checkpoint_final.pth").exists():
            self.command("nnUNetv2_train", 901, CONFIGURATION, 0, "-tr", run.trainer, "-p", plans, "-device", "cpu",
                         "--c")  # fmt: skip
        one_pass(model / "plans.json")
        predicted, scores = self.root / "predicted" / plans, self.root / "scores" / plans
        if not (scores / "summary.json").exists():
            self.command("nnUNetv2_predict_from_modelfolder", "-m", model, "-i", self.raw / "imagesTs", "-o", predicted,
                         "-f", 0, "--disable_tta", "-device", "cpu", "-npp", 1, "-nps", 1)  # fmt: skip
            self.command("nnunet_ext", "evaluate", self.raw / "labelsTs", predicted, "-o", scores)
        regions = json.loads((scores / "summary.json").read_text())["regions"]
        dice = {name: round(region["metrics"]["dice"]["mean"], 4) for name, region in regions.items()}
        print(f"{run.name}: {dice} ({time.monotonic() - start:.0f} s)", flush=True)
        return {"name": run.name, "trainer": run.trainer, "settings": run.settings, "mean_dice": dice}


def one_pass(plans: Path) -> None:
    """Switch off the mirrored passes of a network that mirrors itself, as ``--disable_tta`` does of the others."""
    content = json.loads(plans.read_text())
    kwargs = content["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    if kwargs.get("mirror_axes"):
        kwargs["mirror_axes"] = []
        plans.write_text(json.dumps(content))


def main() -> None:
    """Run the trainings and store their rows."""
    parser = study_parser(__doc__, cases=12, shape=(32, 40, 36), steps=300, patch=(24, 24, 24))
    arguments = parser.parse_args()
    study = SmokeStudy(arguments.folder, arguments)
    study.root.mkdir(parents=True, exist_ok=True)
    study.prepare()
    content = without_rows(arguments, {})
    for run in RUNS:
        content["rows"].append(study.smoke(run))
        arguments.output.write_text(json.dumps(content, indent=4) + "\n")


if __name__ == "__main__":
    main()
