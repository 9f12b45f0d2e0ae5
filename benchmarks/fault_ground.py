"""Where faults happen: a generated data set, models trained on it, and the commands that are disturbed."""

import importlib
import re
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_victims import Victim, fork, launch

DATASET, CONFIGURATION, EPOCHS, BASE_PLANS = "Dataset999_Phantom", "3d_fullres", 3, "nnUNetPlans"
TRAINERS = (
    "ModalityPairingTrainer",
    "BiFPNClassifierTrainer",
    "AutoencoderRegularizedTrainer",
    "AttentionFusionTrainer",
)
SETTINGS = (
    f"num_epochs={EPOCHS}",
    "num_iterations_per_epoch=2",
    "num_val_iterations_per_epoch=1",
    "save_every=1",
    "base_num_features=4",
    "patch_size=[16,16,16]",
    "batch_size=2",
)
MODULES = (
    "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints",
    "nnunetv2.inference.predict_from_raw_data",
    "nnunetv2.run.run_training",
    "nnunet_ext.cli",
    "nnunet_ext.checking.folder",
    "nnunet_ext.cli.options",
    "nnunet_ext.datasets.brats",
    "nnunet_ext.datasets.brats_labels",
    "nnunet_ext.evaluation.evaluate",
    "nnunet_ext.missing_modalities.complete",
    "nnunet_ext.missing_modalities.subset_scores",
    "nnunet_ext.planning.command",
    "nnunet_ext.planning.memory_command",
    "nnunet_ext.planning.memory_table",
    "nnunet_ext.postprocessing.determine",
    "nnunet_ext.report.page",
    "nnunet_ext.trained.attention_figure",
    "nnunet_ext.trained.attention_maps",
    "nnunet_ext.trained.strip",
    "nnunet_ext.trainers",
    "nnunet_ext.workflow.crossval_split",
    "nnunet_ext.workflow.write",
)


@dataclass(frozen=True)
class Command:
    """A command that writes to a folder of its own.

    Attributes:
        name: What it is called in the results.
        line: Its command line for a folder.
        needs: Files to copy into the folder before: name there -> file.
        again: Options of a second call, after one that did not end.
        ours: Whether it is a command of this package.
        entry: Module and function of nnU-Net's commands.
        weight: How often it is chosen; less where a call takes long.
    """

    name: str
    line: Callable[[Path], list[str]]
    needs: Callable[[], dict[str, Path]] = dict
    again: tuple[str, ...] = ()
    ours: bool = True
    entry: tuple[str, str] | None = None
    weight: float = 1.0


class Ground:
    """Generated data, trained models, and commands that use them.

    Args:
        folder: Where it is, or is made.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.raw, self.preprocessed, self.results = (folder / name for name in ("raw", "preprocessed", "results"))

    def environment(self, **folders: Path) -> dict[str, str]:
        """nnU-Net's variables, with other folders where a command writes to them: ``raw``, ``preprocessed``, ..."""
        names = ("raw", "preprocessed", "results")
        return {f"nnUNet_{name}": str(folders.get(name, getattr(self, name))) for name in names}

    def model(self, trainer: str, results: Path | None = None) -> Path:
        """Folder of a trainer's model."""
        return (results or self.results) / DATASET / f"{trainer}__{plans_of(trainer)}__{CONFIGURATION}"

    def start(self, command: Command, cell: Path, log: Path, *, again: bool = False, real: bool = False) -> Victim:
        """Start a command in a folder, through its real command line or in a copy of this process."""
        line = [*command.line(cell), *(command.again if again else ())]
        environment = self.environment(
            **{name: cell / name for name in ("raw", "preprocessed") if (cell / name).is_dir()}
        )
        if real:
            return launch(line, environment, log)
        module, function = command.entry or ("nnunet_ext.cli", "main")
        entry = getattr(importlib.import_module(module), function)
        return fork(entry, line, environment, log, fork_pools=not command.ours)

    def train(
        self, trainer: str, results: Path, log: Path, *options: str, real: bool = False, workers: int = 1
    ) -> Victim:
        """Start nnU-Net's training command."""
        line = [
            "nnUNetv2_train",
            *("999", CONFIGURATION, "0", "-tr", trainer, "-p", plans_of(trainer), "-device", "cpu", *options),
        ]
        environment = self.environment(results=results) | {"nnUNet_n_proc_DA": str(workers)}
        if real:
            return launch(line, environment, log)
        from nnunetv2.run.run_training import run_training_entry

        return fork(run_training_entry, line, environment, log, fork_pools=True)

    def train_in_ranks(self, trainer: str, results: Path, log: Path, *options: str) -> Victim:
        """Start the training in two processes on gloo, as nnU-Net starts it on two GPUs."""
        arguments = [trainer, plans_of(trainer), *options]
        return fork(_launch_ranks, arguments, self.environment(results=results), log, fork_pools=True)

    def prepare(self) -> None:
        """Make what is not there yet."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        if not self.raw.is_dir():
            self._write_data()
        for command in (*self.preparations(), *self._plans()):
            if not (self.preprocessed / DATASET / "done" / command.name).is_file():
                _must(self.start(command, self.folder, logs / f"{command.name}.txt"))
                (self.preprocessed / DATASET / "done").mkdir(exist_ok=True)
                (self.preprocessed / DATASET / "done" / command.name).touch()
        for trainer in TRAINERS:
            if not (self.model(trainer) / "fold_0" / "validation" / "summary.json").is_file():
                _must(self.train(trainer, self.results, logs / f"{trainer}.txt", "--npz"))
        self._write_inputs()

    def preparations(self) -> list[Command]:
        """nnU-Net's own commands before a training."""
        module = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"

        def line(name: str, *options: str) -> Callable[[Path], list[str]]:
            return lambda _: [name, "-d", "999", *options]

        fingerprint, planning = ("extract_fingerprint_entry", "plan_experiment_entry")
        return [
            Command("fingerprint", line("f", "-np", "1"), ours=False, entry=(module, fingerprint)),
            Command("plan experiment", line("p"), ours=False, entry=(module, planning)),
            self.preprocessing(),
        ]

    def preprocessing(self) -> Command:
        """nnU-Net's preprocessing, in a data set's folder with plans."""
        folder = self.preprocessed / DATASET
        names = ("dataset.json", "dataset_fingerprint.json", f"{BASE_PLANS}.json")
        return Command(
            "nnU-Net preprocess",
            lambda _: ["nnUNetv2_preprocess", "-d", "999", "-c", CONFIGURATION, "-np", "1"],
            lambda: {f"preprocessed/{DATASET}/{name}": folder / name for name in names},
            ours=False,
            weight=0.3,
            entry=("nnunetv2.experiment_planning.plan_and_preprocess_entrypoints", "preprocess_entry"),
        )

    def commands(self) -> list[Command]:
        """The commands that faults are done to."""
        ext = "nnunet_ext"
        reference, predicted = str(self.raw / DATASET / "labelsTr"), str(self.folder / "predicted")
        json_option = ["--dataset-json", str(self.raw / DATASET / "dataset.json")]
        attention = self.model("AttentionFusionTrainer")
        image = [str(self.raw / DATASET / "imagesTs" / f"phantom_ts000_{c:04d}.nii.gz") for c in range(4)]
        workflow = [ext, "workflow", "-d", "999", "-tr", "ModalityPairingTrainer", "-device", "cpu", "--preprocessed"]
        subsets = [ext, "subsets", str(attention), "-i", str(self.folder / "complete"), "-device", "cpu"]
        subsets += ["-r", str(self.folder / "references"), "--keep", "T1", "--keep", "T1,T2", "--disable_tta"]
        planning = [ext, "plan", "-d", "999", "-tr", "ModalityPairingTrainer"]
        return [
            Command("plan", lambda _: [*planning, "-o", "New", "num_epochs=7"], self._plan_files),
            Command(
                "plan --gpu-memory",
                lambda _: [*planning, "-o", "Memory", "--gpu-memory", "1"],
                self._plan_files,
                weight=0.3,
            ),
            Command(
                "check",
                lambda _: [ext, "check", str(self.raw / DATASET / "imagesTr"), "-d", "999", "-np", "1"],
            ),
            Command(
                "convert brats",
                lambda _: [ext, "convert", "brats", str(self.folder / "brats"), "-d", "137", "-np", "1"],
                lambda: {"raw/README": self.raw / DATASET / "dataset.json"},
            ),
            Command(
                "convert brats-labels",
                lambda cell: [
                    *(ext, "convert", "brats-labels", predicted, str(cell / "out")),
                    *("--style", "2020", "-np", "1", *json_option),
                ],
            ),
            Command(
                "complete",
                lambda cell: [
                    *(ext, "complete", str(self.folder / "incomplete"), str(cell / "out")),
                    *("-d", "999", "--copy", "-np", "1"),
                ],
            ),
            Command(
                "evaluate",
                lambda cell: [
                    *(ext, "evaluate", reference, predicted, "-o", str(cell / "out"), "-np", "1", *json_option),
                ],
                weight=0.4,
            ),
            Command(
                "evaluate, two workers",
                lambda cell: [ext, "evaluate", reference, predicted, "-o", str(cell / "out"), "-np", "2", *json_option],
                weight=0.15,
            ),
            Command("subsets", lambda cell: [*subsets, "-o", str(cell / "out")], weight=0.5),
            Command(
                "postprocess determine",
                lambda cell: [
                    *(ext, "postprocess", "determine", predicted, reference, "-np", "1", "--thresholds", "5,20"),
                    *("-o", str(cell / "out" / "postprocessing.pkl"), *json_option),
                ],
                lambda: {"out/README": self.raw / DATASET / "dataset.json"},
            ),
            Command(
                "report",
                lambda cell: [ext, "report", str(self.results / DATASET), "-o", str(cell / "out.html"), "-np", "1"],
                weight=0.15,
            ),
            Command(
                "strip",
                lambda cell: [ext, "strip", str(self.model("AutoencoderRegularizedTrainer")), "-o", str(cell / "out")],
            ),
            Command(
                "attention",
                lambda cell: [ext, "attention", str(attention), *image, "-o", str(cell / "out.png"), "-device", "cpu"],
            ),
            Command("workflow", lambda cell: [*workflow, "-o", str(cell / "out")], again=("--overwrite",)),
            Command(
                "step split",
                lambda _: [ext, "step", "split", DATASET],
                lambda: (
                    self._plan_files()
                    | {
                        f"preprocessed/{DATASET}/gt_segmentations/{file.name}": file
                        for file in (self.preprocessed / DATASET / "gt_segmentations").iterdir()
                    }
                    | {
                        f"preprocessed/{DATASET}/{file.parent.name}/{file.name}": file
                        for file in (self.preprocessed / DATASET / f"{BASE_PLANS}_{CONFIGURATION}").iterdir()
                    }
                ),
            ),
            self.preprocessing(),
            Command(
                "nnU-Net predict",
                lambda cell: [
                    *("nnUNetv2_predict_from_modelfolder", "-m", str(self.model("ModalityPairingTrainer")), "-f", "0"),
                    *("-i", str(self.folder / "complete"), "-o", str(cell / "out"), "-device", "cpu"),
                    *("-npp", "1", "-nps", "1", "--disable_tta"),
                ],
                ours=False,
                weight=0.2,
                entry=("nnunetv2.inference.predict_from_raw_data", "predict_entry_point_modelfolder"),
            ),
        ]

    def _plan_files(self) -> dict[str, Path]:
        folder = self.preprocessed / DATASET
        names = ("dataset.json", "dataset_fingerprint.json", f"{BASE_PLANS}.json")
        return {f"preprocessed/{DATASET}/{name}": folder / name for name in names}

    def _plans(self) -> list[Command]:
        def line(trainer: str) -> Callable[[Path], list[str]]:
            return lambda _: ["nnunet_ext", "plan", "-d", "999", "-tr", trainer, "-o", plans_of(trainer), *SETTINGS]

        return [Command(f"plans of {trainer}", line(trainer)) for trainer in TRAINERS]

    def _write_data(self) -> None:
        from nnunet_ext.datasets.phantom import write_phantom_dataset

        write_phantom_dataset(self.raw / DATASET, num_cases=5, shape=(24, 24, 24), num_test_cases=1)
        for folder in (self.preprocessed / DATASET, self.results):
            folder.mkdir(parents=True, exist_ok=True)

    def _write_inputs(self) -> None:
        """Folders of predictions, of complete and incomplete cases, and of cases as BraTS has them."""
        raw = self.raw / DATASET
        # each case is "predicted" by the labels of the next
        labels = sorted((raw / "labelsTr").iterdir())
        _fill(self.folder / "predicted", {a.name: b for a, b in zip(labels, labels[1:] + labels[:1], strict=True)})
        test = {file.name: file for file in sorted((raw / "imagesTs").iterdir())}
        _fill(self.folder / "complete", test)
        _fill(self.folder / "references", {file.name: file for file in (raw / "labelsTs").iterdir()})
        _fill(self.folder / "incomplete", {name: file for name, file in test.items() if "_0001" not in name})
        words = ("t1n", "t1c", "t2w", "t2f")
        for number, label in enumerate(labels[:3]):
            name, case = f"BraTS-GLI-{number:05d}-000", label.name.removesuffix(".nii.gz")
            files = {
                f"{name}-{word}.nii.gz": raw / "imagesTr" / f"{case}_{c:04d}.nii.gz" for c, word in enumerate(words)
            }
            _fill(self.folder / "brats" / name, files | {f"{name}-seg.nii.gz": label})


def plans_of(trainer: str) -> str:
    """Name of the plans that a trainer is run with."""
    return f"Faults{trainer}"


def import_everything() -> None:
    """What the commands import, so that copies of this process need not."""
    for module in MODULES:
        importlib.import_module(module)
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    recursive_find_trainer_class_by_name(TRAINERS[0])


def copy_into(cell: Path, files: dict[str, Path]) -> None:
    """Copy files into a folder, under the names that they have there."""
    for name, file in files.items():
        (cell / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, cell / name)


def epochs_begun(output: str) -> list[int]:
    """Numbers of the epochs that a training says it began."""
    return [int(number) for number in re.findall(r"\bEpoch (\d+)\b", output)]


def curves_of(checkpoint: Path) -> dict[str, list[float]]:
    """Curves of a checkpoint's log."""
    from nnunet_ext.files.checkpoint import read_checkpoint

    return read_checkpoint(checkpoint, ("logging", "current_epoch"))["logging"]


def _fill(folder: Path, files: dict[str, Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    copy_into(folder, files)


def _must(victim: Victim) -> None:
    victim.wait(900)
    if victim.code != 0:
        raise SystemExit(f"Preparation failed ({victim.code}):\n{victim.output[-4000:]}")


def _launch_ranks() -> None:
    from torch import multiprocessing

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # as nnU-Net's run_training, which spawns them
    multiprocessing.start_processes(_train_rank, args=(port, *sys.argv), nprocs=2, start_method="fork")


def _train_rank(rank: int, port: int, trainer_name: str, plans: str, *options: str) -> None:
    """What nnU-Net's run_ddp does, on gloo and the CPU, which it has no option for."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    go_on, validate = "--c" in options, "--val" in options
    trainer = get_trainer_from_args(
        "999", CONFIGURATION, 0, trainer_name, plans, continue_training=go_on, device=torch.device("cpu")
    )
    trainer.initialize()
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    trainer.network = DistributedDataParallel(trainer.network)
    trainer.is_ddp, trainer.local_rank = True, rank
    trainer.loss = trainer._build_loss()
    maybe_load_checkpoint(trainer, go_on, validate)
    if not validate:
        trainer.run_training()
    trainer.perform_actual_validation("--npz" in options)
    distributed.destroy_process_group()
