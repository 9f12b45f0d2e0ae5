"""Everything that only a GPU can say, in one command that can be stopped and started again.

    make gpu                          on a machine with one GPU; make gpu MINUTES=9 stops in time and goes on later
    make gpu DEVICE=cpu SIZE=tiny     all of it, small, on a CPU: shows that it runs, and measures nothing of use

Work is cut into units of at most a few minutes. Each is stored as soon as it is measured, and not measured again. At
the end the share of memory that plans fill is fitted, and the tables of docs/gpu.md, docs/planning.md and README.md are
written anew (share and tables of a tiny run into its own folder).
"""

import argparse
import gc
import hashlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import convolutions
import epoch
import overview
import torch
import training_step
from networks import METHODS as NETWORKS
from networks import Size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from phantom_study import PhantomStudy, Training, trainings
from planning_memory import DATASET, METHODS, counted, planned_for, write_description

from nnunet_ext.cli.termination import clean_exit_on_sigterm
from nnunet_ext.planning import memory_share
from nnunet_ext.planning.memory_share import MemoryShare, fitted_share, write_memory_share
from nnunet_ext.planning.training_step import step_cost
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import TRAINERS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "gpu"
sys.path.append(str(ROOT / "tools"))


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        side: Side of the patch of timed steps, voxels.
        base: Features of the first stage.
        batch: Samples of a step of networks that are timed alone.
        rounds: Timed steps.
        published: Whether memory is measured at the papers' sizes; else at this side.
        steps: Training steps of a timed epoch, and of each training of the study.
        epochs: Epochs that the study divides its steps into.
        shape: Voxels of the cases that an epoch loads.
        cases: Cases of the study.
        trainers: Whether all trainers, or one a method; of epoch and study, one alone.
    """

    side: int
    base: int
    batch: int
    rounds: int
    published: bool
    steps: int
    epochs: int
    shape: tuple[int, int, int]
    cases: int
    trainers: bool


SCALES = {
    "published": Scale(
        side=128,
        base=32,
        batch=2,
        rounds=7,
        published=True,
        steps=250,
        epochs=5,
        shape=(140, 171, 137),
        cases=10,
        trainers=True,
    ),
    "tiny": Scale(
        side=16,
        base=8,
        batch=1,
        rounds=1,
        published=False,
        steps=2,
        epochs=2,
        shape=(24, 24, 24),
        cases=5,
        trainers=False,
    ),
}


@dataclass(frozen=True)
class Unit:
    """Something to measure.

    Attributes:
        part: File of results that it is in.
        name: Name in the file.
        measure: Gives its rows.
        needs: Units of its part that must be stored before.
    """

    part: str
    name: str
    measure: Callable[[], Any]
    needs: tuple[str, ...] = ()


def units(scale: Scale, device: torch.device, output: Path, work: Path) -> Iterator[Unit]:
    """All units, the most wanted first.

    Args:
        scale: How large everything is.
        device: Where it runs.
        output: Folder of results.
        work: Folder of what the study trains on, and of its models.
    """
    compiled = (False, True) if device.type == "cuda" else (False,)  # as nnU-Net, which compiles on GPUs alone
    for trainer in (nnUNetTrainer, *METHODS):
        yield Unit("memory", trainer.__name__, lambda t=trainer: memory(t, scale, device))
    for trainer in TRAINERS if scale.trainers else METHODS:
        for compile_ in compiled if trainer in METHODS else (False,):
            name = trainer.__name__ + (" compiled" if compile_ else "")
            yield Unit("steps", name, lambda t=trainer, c=compile_: steps(t, scale, device, c))
    for method, rows in NETWORKS.items():
        for predict in (False, True):
            for compile_ in compiled:
                name = f"{method} {'inference' if predict else 'training'}{' compiled' if compile_ else ''}"
                yield Unit("networks", name, lambda r=rows, p=predict, c=compile_: networks(r, scale, device, p, c))
    for kind, features in (("grouped", scale.base), ("grouped", 4 * scale.base), ("depthwise", 4 * scale.base)):
        side = max(4, scale.side // (1 if features == scale.base else 8))
        name = f"{kind}, {features} channels of {side}^3"
        yield Unit(
            "convolutions",
            name,
            lambda k=kind, f=features, s=side: convolutions.measure(k, f, s, device, scale.rounds),
        )
    for trainer in (nnUNetTrainer, *METHODS) if scale.trainers else (nnUNetTrainer, METHODS[0]):
        yield Unit("epoch", trainer.__name__, lambda t=trainer: epoch_of(t, scale, device))
    study = PhantomStudy(
        work,
        device.type,
        shape=scale.shape,
        cases=scale.cases,
        side=scale.side,
        base=scale.base,
        epochs=scale.epochs,
        steps=scale.steps,
    )
    planned = trainings(TRAINERS if scale.trainers else METHODS[:1])
    for training in planned:
        yield Unit("study", training.name, lambda t=training: study.train(t))
    names = tuple(training.name for training in planned)
    yield Unit("study", "comparison", lambda: compare(study, planned, output), needs=names)


def case_of(scale: Scale) -> Case:
    """Plans of the timed steps: nnU-Net's stages for this patch."""
    stages = 6 if scale.side >= 128 else 3
    strides = ((1, 1, 1), *[(2, 2, 2)] * (stages - 1))
    return Case(patch_size=(scale.side,) * 3, strides=strides, kernel_sizes=((3, 3, 3),) * stages, base=scale.base)


def memory(trainer_class: type[nnUNetTrainer], scale: Scale, device: torch.device) -> dict[str, Any]:
    """The planner's estimate of a training step, and what a step takes: counted on a CPU, the allocator's on a GPU."""
    published = getattr(trainer_class, "published_size", None) or ((128, 128, 128), 2)
    patch, batch = published if scale.published else ((scale.side,) * len(published[0]), 2)
    plans = planned_for(patch, scale.base, batch)
    with tempfile.TemporaryDirectory() as folder:
        write_description(Path(folder))
        dataset_json = json.loads((Path(folder) / "raw" / DATASET / "dataset.json").read_text())
        estimate = step_cost(trainer_class, plans, "size", dataset_json).memory
        row = {"patch": list(patch), "batch": batch, "estimated_bytes": estimate}
        if device.type != "cuda":
            return row | {"counted_bytes": counted(trainer_class, plans, "size", dataset_json, mixed=True)}
        os.environ["nnUNet_compile"] = "false"
        case = Case(dimension=len(patch), patch_size=tuple(patch), regions=True, base=scale.base)
        plans["configurations"] = {case.configuration: plans["configurations"].pop("size")}
        trainer = make_trainer(trainer_class, case, Path(folder), plans=plans, device=device)
        images, target = make_batch(trainer, case, size=batch)
        trainer.network.train()
        for _ in range(2):  # the second has the optimizer's state
            torch.cuda.reset_peak_memory_stats()
            trainer.train_step({"data": images, "target": target})
        allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return row | {"allocated_bytes": allocated, "reserved_bytes": reserved}


def steps(trainer_class: type[nnUNetTrainer], scale: Scale, device: torch.device, compile_: bool) -> list[dict]:
    """Training step and inference beside plain nnU-Net's, and, not compiled, the share of the device's limit."""
    os.environ["nnUNet_compile"] = str(compile_).lower()
    with tempfile.TemporaryDirectory() as folder:
        compared = [overview.Network(t, case_of(scale), Path(folder), device) for t in (nnUNetTrainer, trainer_class)]
        if not compile_:
            return overview.measure(compared, device, scale.rounds)
        # a compiled network cannot be counted through: times alone
        for network in compared:
            network.train(), network.infer()
        times = [
            [(overview.seconds(n.train, device), overview.seconds(n.infer, device)) for n in compared]
            for _ in range(scale.rounds)
        ]
    middle = torch.tensor(times, dtype=torch.float64).median(0).values.tolist()
    return [
        {
            "network": network.name,
            "train_seconds": train,
            "infer_seconds": infer,
            "train_time_ratio": train / middle[0][0],
            "infer_time_ratio": infer / middle[0][1],
        }
        for network, (train, infer) in zip(compared, middle, strict=True)
    ]


def networks(rows: list, scale: Scale, device: torch.device, predict: bool, compile_: bool) -> list[dict]:
    """A method's network beside its references, MONAI's among them."""
    size = Size((scale.side,) * 3, scale.batch, scale.base)
    amp = device.type == "cuda"
    return training_step.measure(rows, size, device, scale.rounds, amp=amp, compiled=compile_, predict=predict)


def epoch_of(trainer_class: type[nnUNetTrainer], scale: Scale, device: torch.device) -> dict[str, Any]:
    """An epoch with real data loading."""
    os.environ["nnUNet_compile"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        return epoch.measure(trainer_class, case_of(scale), scale.steps, scale.shape, Path(folder), device)


def compare(study: PhantomStudy, planned: Sequence[Training], output: Path) -> list[dict[str, Any]]:
    """Rows of the study, of the trainings that did not run out of memory."""
    stored = json.loads((output / "study.json").read_text())["units"]
    return study.compare([training for training in planned if "error" not in stored[training.name]], output / "study")


def share_file(device: torch.device, scale: Scale, output: Path) -> Path:
    """The file of the share that plans are made with, where it is to be decided; else one that nothing reads.

    What is measured on a CPU, small, or beside the repository's own results decides nothing.
    """
    decides = device.type == "cuda" and scale.published and output == RESULTS
    return memory_share.FILE if decides else output / memory_share.FILE.name


def fit_share(output: Path, file: Path) -> None:
    """Write the share of memory that plans may fill, once the memory part is whole and has measured a step.

    Args:
        output: Folder of results.
        file: File to write.
    """
    content = json.loads((output / "memory.json").read_text()) if (output / "memory.json").exists() else {"units": {}}
    whole = {trainer.__name__ for trainer in (nnUNetTrainer, *METHODS)} <= content["units"].keys()
    if whole and (share := fitted_share(content["units"])) is not None:
        environment = content["environment"]
        write_memory_share(MemoryShare(share, environment["device"], environment["torch"]), file)


def run(scale: Scale, device: torch.device, output: Path, minutes: float, work: Path) -> tuple[list[str], list[str]]:
    """Measure what is not stored yet.

    Args:
        scale: How large everything is.
        device: Where it runs.
        output: Folder of results, a file a part.
        minutes: No unit is begun after this time.
        work: Folder below which the study trains, in one of its own for each device, version and size.

    Returns:
        Names of units that failed, and of those that are left for the next call.
    """
    end = time.monotonic() + 60 * minutes
    # as it is read again: lists in place of tuples
    header = json.loads(json.dumps({"scale": vars(scale), "environment": training_step.environment(device)}))
    failed, left = [], []
    own = hashlib.sha256(json.dumps(header).encode()).hexdigest()[:8]
    for unit in units(scale, device, output, work / f"training_{own}"):
        file = output / f"{unit.part}.json"
        content = json.loads(file.read_text()) if file.exists() else header | {"units": {}}
        if {key: content[key] for key in header} != header:
            raise SystemExit(f"{file} is of another device, version or size: delete it, or choose another --output.")
        name = f"{unit.part}: {unit.name}"
        if unit.name in content["units"]:
            continue
        if time.monotonic() > end or not content["units"].keys() >= set(unit.needs):
            left.append(name)
            continue
        print(name, flush=True)
        try:
            content["units"][unit.name] = unit.measure()
        except torch.OutOfMemoryError:
            content["units"][unit.name] = {"error": "out of memory"}
        except Exception:  # the other units are worth having
            traceback.print_exc()
            failed.append(name)
            continue
        finally:
            if device.type == "cuda":
                gc.collect()  # a trainer refers to itself
                torch.cuda.empty_cache()
        output.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(file)
    return failed, left


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SCALES, default="published")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no unit after this time")
    parser.add_argument("--output", type=Path, help="folder of results; benchmarks/results/gpu, .gpu/tiny for tiny")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("No GPU that PyTorch can use. To see that all of it runs: make gpu DEVICE=cpu SIZE=tiny")
    torch.backends.cudnn.benchmark = True
    tiny = arguments.size == "tiny"
    output = arguments.output or (ROOT / ".gpu" / "tiny" if tiny else RESULTS)
    work = output if tiny else ROOT / ".gpu"
    with clean_exit_on_sigterm():  # also ends a training
        failed, left = run(SCALES[arguments.size], device, output, arguments.minutes, work)
    fit_share(output, share_file(device, SCALES[arguments.size], output))

    from measured_tables import gpu, write_pages

    if tiny:
        (output / "tables.md").write_text(gpu(output))
    else:
        write_pages()
    for names, what in ((left, "left for the next call"), (failed, "failed")):
        if names:
            print(f"{what}: {', '.join(names)}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
