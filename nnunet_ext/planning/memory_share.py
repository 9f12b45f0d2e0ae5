"""Share of a GPU's memory that the tensors of a planned step may fill: our choice until it is measured on a GPU."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files.atomic import write_text_atomically
from nnunet_ext.files.json_object import read_json_object

FILE = Path(__file__).with_name("memory_share.json")
# Neither the CUDA context nor the fragmentation of a long training is in a measured step. Our choice, not measured.
MOST = 0.95


@dataclass(frozen=True)
class MemoryShare:
    """The share, and what it was measured with.

    Attributes:
        share: From 0 to 1. The rest is for what cannot be counted: the kernels' workspace and what the allocator loses
            to fragmentation.
        device: Name of the GPU; None where the share is our choice. Ours is 0.9; for comparison, nnU-Net's own plans
            for 8 GB count 5.1 GB of tensors.
        torch: Version of PyTorch; None as well.
    """

    share: float
    device: str | None = None
    torch: str | None = None

    def __str__(self) -> str:
        source = f"measured on {self.device}, torch {self.torch}" if self.device else "our choice, not measured"
        return f"{100 * self.share:.0f} % ({source})"


def read_memory_share() -> MemoryShare:
    """The share that plans are made with."""
    return MemoryShare(**read_json_object(FILE))


def write_memory_share(share: MemoryShare, file: Path) -> None:
    """Write a file of the same form; that of the package is what plans are made with from then on."""
    write_text_atomically(file, json.dumps(asdict(share), indent=2) + "\n")


def held_bytes(row: Mapping[str, Any]) -> int:
    """What a measured step held: reserved by the allocator of a GPU; on a CPU the bytes of its tensors, counted."""
    held: int = row["reserved_bytes"] if "reserved_bytes" in row else row["counted_bytes"]
    return held


def fitted_share(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Share that keeps plans within the memory: the least of estimated / held over measured steps.

    Args:
        rows: Trainer -> ``"estimated_bytes"``, the planner's, and ``"reserved_bytes"`` or ``"counted_bytes"``; or
            ``"error"``, which says nothing about the share.

    Returns:
        The share, rounded down to hundredths and at most ``MOST``; None where no step was measured.
    """
    hundredths = [100 * row["estimated_bytes"] // held_bytes(row) for row in rows.values() if "error" not in row]
    return min(*hundredths, round(100 * MOST)) / 100 if hundredths else None
