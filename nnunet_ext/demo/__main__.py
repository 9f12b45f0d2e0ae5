"""Runs the demo: `python -m nnunet_ext.demo`, or `make demo`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nnunet_ext.demo.error import DemoError
from nnunet_ext.demo.run import run_demo


class Device(str, Enum):
    """Devices nnU-Net runs on."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def main(
    data: Annotated[
        Path | None, typer.Option(help="Your own data set in nnU-Net's raw format; without it, a generated phantom.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo"),
    device: Annotated[Device, typer.Option(help="Device for training and prediction.")] = Device.CPU,
) -> None:
    """Run nnU-Net's own commands from raw files to a scored ensemble, at a size for a laptop.

    Finished steps of an earlier run are reused. The data set's files are linked, never changed.
    """
    console = Console()
    try:
        run_demo(folder, data, device.value, console)
    except DemoError as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
