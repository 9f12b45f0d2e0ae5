"""Training step or prediction of a method's network against its references: time, counted arithmetic, peak memory.

All networks are timed in one process and in turn, step by step, so that other load on the machine hits all of them.

    python benchmarks/training_step.py modality_pairing --patch 64 64 64 --batch 1 --output benchmarks/results/NAME.json
"""

import argparse
import json
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import torch
from memory import peak_memory
from networks import CHANNELS, CLASSES, METHODS, Row, Size
from rich.console import Console
from rich.table import Table
from torch import nn

from nnunet_ext.counting.arithmetic import operation_counter


class Step:
    """One training step of one network: forward, loss, backward, optimizer.

    Args:
        row: The network.
        size: Patch, batch and width.
        device: Where it runs.
        amp: Whether under autocast, as nnU-Net trains on a GPU.
        compiled: Whether through torch.compile.
        predict: Forward pass in eval mode in place of the training step.
    """

    def __init__(self, row: Row, size: Size, device: torch.device, amp: bool, compiled: bool, predict: bool = False):
        torch.manual_seed(0)
        self.row, self.device, self.amp, self.predict = row, device, amp, predict
        self.network: nn.Module = row.build(size).to(device).train(not predict)
        self.parameters = sum(p.numel() for p in self.network.parameters())
        self.optimizer = torch.optim.SGD(self.network.parameters(), 1e-4, momentum=0.99, nesterov=True)
        self.forward = torch.compile(self.network) if compiled else self.network
        # not zeros: they can run faster than real data
        self.images = torch.randn(size.batch, CHANNELS, *size.patch, device=device)
        self.target = torch.randint(0, CLASSES, (size.batch, *size.patch), device=device)

    def __call__(self) -> None:
        """Run the step."""
        if self.predict:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=self.amp):
                self.forward(self.images)
            return
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, enabled=self.amp):
            loss = self.row.loss(self.forward(self.images), self.target)
        loss.backward()
        self.optimizer.step()

    def seconds(self) -> float:
        """Duration of the step."""
        self._wait()
        start = time.perf_counter()
        self()
        self._wait()
        return time.perf_counter() - start

    def operations(self) -> int:
        """Multiplications and additions of convolutions and matrix products in forward and backward pass."""
        with operation_counter() as counter:
            self()
        return counter.get_total_flops()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def measure(
    rows: list[Row],
    size: Size,
    device: torch.device,
    steps: int,
    amp: bool = False,
    compiled: bool = False,
    predict: bool = False,
) -> list[dict]:
    """A result a row; ratios are against the first row."""
    networks = [Step(row, size, device=device, amp=amp, compiled=compiled, predict=predict) for row in rows]
    operations = [Step(row, size, device=device, amp=amp, compiled=False, predict=predict).operations() for row in rows]
    memory = []
    for network in networks:
        network()  # allocates the optimizer's state, compiles, and lets cuDNN choose its kernels
        network.optimizer.zero_grad(set_to_none=True)
        memory.append(peak_memory(network, device))
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(steps):
        for network, taken in zip(networks, times, strict=True):
            taken.append(network.seconds())
            network.optimizer.zero_grad(set_to_none=True)
    results = []
    for row, network, count, peak, taken in zip(rows, networks, operations, memory, times, strict=True):
        median = statistics.median(taken)
        results.append(
            {
                "network": row.name,
                "parameters": network.parameters,
                "operations": count,
                "peak_memory_bytes": peak,
                "median_seconds": median,
                "fastest_seconds": min(taken),
                "slowest_seconds": max(taken),
                "time_ratio": median / statistics.median(times[0]),
                "operations_ratio": count / operations[0],
                "memory_ratio": peak / memory[0],
                # step by step against the reference's step of the same round, which saw the same load
                "time_per_operation_ratio": statistics.median(a / b for a, b in zip(taken, times[0], strict=True))
                / (count / operations[0]),
            }
        )
    return results


def environment(device: torch.device) -> dict[str, str | int]:
    """Device and versions, for the results file."""
    gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if gpu else f"CPU, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dynamic_network_architectures": version("dynamic_network_architectures"),
    }


def show(results: list[dict], title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    columns = ("network", "parameters", "Gop", "s", "MiB", "time", "operations", "time/operation", "memory")
    for column in columns:
        table.add_column(column, justify="left" if column == "network" else "right", no_wrap=column != "network")
    for r in results:
        ratios = ("time_ratio", "operations_ratio", "time_per_operation_ratio", "memory_ratio")
        table.add_row(
            r["network"],
            f"{r['parameters'] / 1e6:.2f}M",
            f"{r['operations'] / 1e9:.1f}",
            f"{r['median_seconds']:.3f}",
            f"{r['peak_memory_bytes'] / 2**20:.0f}",
            *(f"{r[ratio]:.3f}" for ratio in ratios),
        )
    Console(width=130).print(table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--patch", type=int, nargs="+", default=[64, 64, 64], help="patch size, voxels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--base", type=int, default=32, help="features of the first stage")
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each network")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--amp", action="store_true", help="autocast, as nnU-Net trains on a GPU")
    parser.add_argument("--predict", action="store_true", help="forward pass in eval mode in place of a training step")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    device = torch.device(arguments.device)
    size = Size(tuple(arguments.patch), arguments.batch, arguments.base)
    rows = METHODS[arguments.method]
    results = measure(
        rows,
        size,
        device=device,
        steps=arguments.steps,
        amp=arguments.amp,
        compiled=arguments.compile,
        predict=arguments.predict,
    )
    show(results, f"{arguments.method}: patch {size.patch}, batch {size.batch}, base {size.base}")
    if arguments.output:
        settings = {k: v for k, v in vars(arguments).items() if k != "output"}
        report = {"settings": settings, "environment": environment(device), "results": results}
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
