"""Every trainer's network in one table: training step and inference against nnU-Net's U-Net and the device's limit.

Each trainer builds its network and loss from the same plans. Steps are timed in one process and in turn. Operations are
counted multiplications and additions of convolutions and matrix products; bytes are what operators read and write.
The limit of a step is the larger of operations over the rate of a large matrix product and bytes over the rate of a
large copy, both measured in the same run.

    python benchmarks/overview.py --side 32 --base 16 --output benchmarks/results/NAME
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from memory import memory_traffic, peak_memory
from networks import METHODS, Size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from rich.console import Console
from rich.table import Table
from training_step import Step, environment

from nnunet_ext.architectures.slice_network import SliceNetwork
from nnunet_ext.counting.arithmetic import operation_counter
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import TRAINERS


class Network:
    """A trainer's network with its training step and its inference.

    Args:
        trainer_class: nnU-Net's trainer or one of this package.
        case: Patch, batch and width.
        folder: Where the trainer writes.
        device: Where it runs.
    """

    def __init__(self, trainer_class, case: Case, folder: Path, device: torch.device):
        torch.manual_seed(0)
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = make_trainer(trainer_class, case, folder / trainer_class.__name__, device=device)
        if isinstance(network := getattr(trainer.network, "_orig_mod", trainer.network), SliceNetwork):
            network.mirror_axes = ()  # one pass, as the others make
        self.name, self.trainer = trainer_class.__name__, trainer
        images, target = make_batch(trainer, case)
        self.images = images.to(device)
        self.batch = {"data": images, "target": target}

    def train(self) -> None:
        """nnU-Net's training step: forward, loss, backward, gradient clipping, optimizer."""
        self.trainer.set_deep_supervision_enabled(self.trainer.enable_deep_supervision)
        self.trainer.network.train()
        self.trainer.train_step(self.batch)
        self.trainer.optimizer.zero_grad(set_to_none=True)

    def infer(self) -> None:
        """Logits of the batch as in prediction."""
        self.trainer.set_deep_supervision_enabled(False)
        self.trainer.network.eval()
        # as nnU-Net predicts: mixed precision on a GPU
        with torch.no_grad(), torch.autocast("cuda", enabled=self.images.is_cuda):
            self.trainer.network(self.images)


class Reference:
    """A network of another library as a row: MONAI's counterparts of this package's networks."""

    def __init__(self, row, size: Size, device: torch.device):
        self.name, self.step = row.name, Step(row, size, device, amp=device.type == "cuda", compiled=False)

    def train(self) -> None:
        """Forward, cross entropy, backward, optimizer."""
        self.step.network.train()
        self.step()
        self.step.optimizer.zero_grad(set_to_none=True)

    def infer(self) -> None:
        """Logits of the batch."""
        self.step.network.eval()
        with torch.no_grad(), torch.autocast("cuda", enabled=self.step.images.is_cuda):
            self.step.network(self.step.images)


def seconds(function: Callable[[], None], device: torch.device) -> float:
    """Duration of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def operations(function: Callable[[], None]) -> int:
    """Multiplications and additions of convolutions and matrix products."""
    with operation_counter() as counter:
        function()
    return counter.get_total_flops()


def device_rates(device: torch.device, repeats: int = 5) -> tuple[float, float]:
    """Operations a second of a large matrix product, and bytes a second, read and written, of a large copy.

    The product is in half precision on a GPU, as training is there.
    """
    side, dtype = (8192, torch.float16) if device.type == "cuda" else (2048, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.randn(64 * 2**20, device=device)
    target = torch.empty_like(source)
    product = min(seconds(lambda: torch.mm(a, b), device) for _ in range(repeats))
    copy = min(seconds(lambda: target.copy_(source), device) for _ in range(repeats))
    return 2 * side**3 / product, 2 * source.numel() * source.element_size() / copy


def measure(networks: list, device: torch.device, rounds: int) -> list[dict]:
    """A result a network; ratios are against the first, round by round."""
    compute, bandwidth = device_rates(device)
    results: list[dict] = []
    for network in networks:
        network.train()  # allocates the optimizer's state
        result = {"network": network.name, "train_seconds": [], "infer_seconds": []}
        for kind, function in (("train", network.train), ("infer", network.infer)):
            count, traffic = operations(function), memory_traffic(function)
            result[f"{kind}_operations"] = count
            result[f"{kind}_bytes"] = traffic
            result[f"{kind}_peak_memory_bytes"] = peak_memory(function, device)
            result[f"{kind}_limit_seconds"] = max(count / compute, traffic / bandwidth)
        results.append(result)
    for _ in range(rounds):
        for network, result in zip(networks, results, strict=True):
            result["train_seconds"].append(seconds(network.train, device))
            result["infer_seconds"].append(seconds(network.infer, device))
    first = results[0]
    for result in results[::-1]:
        for kind in ("train", "infer"):
            pairs = zip(result[f"{kind}_seconds"], first[f"{kind}_seconds"], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            result[f"{kind}_time_ratio"] = ratio
            result[f"{kind}_share"] = ratio / (result[f"{kind}_operations"] / first[f"{kind}_operations"])
    for result in results:
        for kind in ("train", "infer"):
            result[f"{kind}_seconds"] = statistics.median(result[f"{kind}_seconds"])
    return results


def show(results: list[dict], title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    table.add_column("network", no_wrap=True)
    for kind in ("train", "infer"):
        for column in ("s", "ratio", "Gop", "ratio/op", "x limit", "MiB"):
            table.add_column(f"{kind} {column}", justify="right")
    for r in results:
        cells = []
        for kind in ("train", "infer"):
            cells += [
                f"{r[f'{kind}_seconds']:.3f}",
                f"{r[f'{kind}_time_ratio']:.2f}",
                f"{r[f'{kind}_operations'] / 1e9:.1f}",
                f"{r[f'{kind}_share']:.2f}",
                f"{r[f'{kind}_seconds'] / r[f'{kind}_limit_seconds']:.1f}",
                f"{r[f'{kind}_peak_memory_bytes'] / 2**20:.0f}",
            ]
        table.add_row(r["network"], *cells)
    Console(width=170).print(table)


def plot(results: list[dict], file: Path, title: str) -> None:
    """Bars of the time ratio and of the operations ratio of each network's training step."""
    figure = Figure(figsize=(9, 0.38 * len(results) + 1.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    positions = range(len(results))
    operations_ratio = [r["train_operations"] / results[0]["train_operations"] for r in results]
    axes.barh([p - 0.2 for p in positions], [r["train_time_ratio"] for r in results], 0.4, label="time")
    axes.barh([p + 0.2 for p in positions], operations_ratio, 0.4, label="counted operations")
    axes.set_yticks(list(positions), [r["network"] for r in results])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel(f"training step, ratio to {results[0]['network']}")
    axes.set_title(title)
    axes.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="side of the patch, voxels; a multiple of 16")
    parser.add_argument("--base", type=int, default=16, help="features of the plans' first stage")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each network")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, help="results are written to OUTPUT.json and OUTPUT.png")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    side, stages = arguments.side, 4
    case = Case(
        patch_size=(side,) * 3,
        strides=((1, 1, 1), *[(2, 2, 2)] * (stages - 1)),
        kernel_sizes=((3, 3, 3),) * stages,
        base=arguments.base,
    )
    size = Size(case.patch_size, case.plans["configurations"]["3d"]["batch_size"], arguments.base)
    with tempfile.TemporaryDirectory() as folder:
        networks: list = [Network(t, case, Path(folder), device) for t in (nnUNetTrainer, *TRAINERS)]
        networks += [Reference(row, size, device) for row in METHODS["autoencoder"] if row.name.startswith("MONAI")]
        results = measure(networks, device, arguments.rounds)
    title = f"patch {side}^3, batch {size.batch}, base {arguments.base}, {stages} stages"
    show(results, title)
    if arguments.output:
        settings = {k: v for k, v in vars(arguments).items() if k != "output"} | {"stages": stages}
        report = {"settings": settings, "environment": environment(device), "results": results}
        arguments.output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
        plot(results, arguments.output.with_suffix(".png"), title)


if __name__ == "__main__":
    main()
