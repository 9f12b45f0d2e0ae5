"""The demo from start to end: data, commands with their progress, table and picture."""

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nnunet_ext.datasets.phantom import phantom_dataset_json, write_phantom_dataset
from nnunet_ext.demo.error import DemoError
from nnunet_ext.demo.own_data import dataset_name, link_dataset
from nnunet_ext.demo.page import Picture, write_page
from nnunet_ext.demo.picture import MOST_CASES, draw, label_legend
from nnunet_ext.demo.pipeline import demo_steps, reconstruction, systems
from nnunet_ext.demo.scores import dice_table
from nnunet_ext.demo.step import Step, is_finished, last_line, run
from nnunet_ext.demo.workspace import Workspace
from nnunet_ext.plans.modalities import channel_names

# Training cases, shape in voxels, seed, test cases: five folds of two. Both test cases have a rim; a third would have
# none, where a single voxel of enhancing tumour has Dice 0, a third of the mean
PHANTOM: tuple[int, tuple[int, int, int], int, int] = (10, (24, 32, 28), 0, 2)


def run_demo(folder: Path, data: Path | None, device: str, console: Console) -> None:
    """Runs the whole demo and prints what it does.

    Args:
        folder: Where everything is written; each data set has its own folder in it.
        data: The user's data set in nnU-Net's raw format, or None for the phantom.
        device: cpu, cuda or mps.
        console: Where to print.

    Raises:
        DemoError: The data cannot be used or a command fails.
    """
    workspace = prepare_data(folder, data)
    environment = workspace.environment()
    _print_line(console, "The commands run with these variables:\n")
    for name, value in environment.items():
        _print_line(console, f"export {name}={shlex.quote(value)}")
    # the commands of this environment first, also where it is not activated
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run_steps(demo_steps(workspace, device), workspace.logs, {**environment, "PATH": path}, console)
    summaries = {name: predictions / "summary.json" for name, predictions in systems(workspace).items()}
    console.print()
    table = dice_table(summaries, workspace.dataset_json())
    console.print(table)
    draw_predictions(workspace)
    write_page(
        workspace.page,
        f"nnunet_ext demo: {workspace.dataset}",
        "Plain nnU-Net and three methods of this package, each trained for 250 steps with a small network, and their "
        "ensemble.",
        table,
        pictures(workspace),
        workspace.report,
    )
    _print_line(console, f"\nOpen in a browser: {workspace.page.resolve()}\nEverything else: {workspace.root}")


def pictures(workspace: Workspace) -> list[Picture]:
    """Pictures of the page."""
    return [
        Picture("Predictions", "Test cases, at the slice with most of the reference.", workspace.picture),
        Picture(
            "Attention maps",
            "Attention fusion: where the master modality tells all streams to look, at every level.",
            workspace.attention,
        ),
        Picture(
            "Reconstruction",
            "Autoencoder regularization: a training patch, and what the branch restores of it from the encoder's last "
            "feature map.",
            reconstruction(workspace),
        ),
    ]


def prepare_data(folder: Path, data: Path | None) -> Workspace:
    """Writes or links the raw data set unless it is there.

    Raises:
        DemoError: The user's data cannot be used, or the folder holds other data under the same name.
    """
    if data is None:
        workspace = Workspace(folder / "Dataset999_Phantom")
        if not workspace.raw.exists():
            write_phantom_dataset(workspace.raw, *PHANTOM)
        elif workspace.dataset_json() != phantom_dataset_json(*PHANTOM):
            raise DemoError(f"{workspace.raw} is another phantom. Delete {workspace.root} to start again.")
        return workspace
    data = data.expanduser()
    if not data.is_dir():
        raise DemoError(f"{data} is not a folder. Give a data set folder in nnU-Net's raw format.")
    workspace = Workspace(folder / dataset_name(data.resolve()))
    link_dataset(data, workspace.raw)
    first_case = _reader(workspace).read_images(workspace.images("Tr", workspace.cases("Tr")[0]))[0]
    return Workspace(workspace.root, "2d" if first_case.shape[1] == 1 else "3d_fullres")


def run_steps(steps: Sequence[Step], logs: Path, environment: Mapping[str, str], console: Console) -> None:
    """Runs the steps that are not finished, each printed before it runs, under a display of the progress.

    Args:
        steps: Steps in order.
        logs: Folder for the output of each step.
        environment: Variables added to this process's own.
        console: Where to print.

    Raises:
        DemoError: A step fails; the steps after it do not run.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(steps))
        for number, step in enumerate(steps, start=1):
            log = logs / f"{number:02d}_{step.command[0]}.txt"
            position = f"step {number} of {len(steps)}"
            finished = is_finished(step, log)
            reused = " (done before, reused)" if finished else ""
            console.print(f"\n[bold]{position}:[/bold] {escape(step.title)}{reused}", highlight=False)
            _print_line(console, f"$ {step.command_line}")
            if not finished:
                start = time.monotonic()
                run(step, log, environment, on_wait=partial(_show_last_line, progress, bar, position, log))
                _print_line(console, f"{time.monotonic() - start:.0f} s, output in {log}")
            progress.update(bar, completed=number, description=position)


def draw_predictions(workspace: Workspace) -> None:
    """Draws the first test cases with their reference and the predictions of every system."""
    dataset_json, reader = workspace.dataset_json(), _reader(workspace)
    cases = workspace.cases("Ts")[:MOST_CASES]
    ending = dataset_json["file_ending"]
    segmentations = {
        title: {case: reader.read_seg(str(labels / f"{case}{ending}"))[0][0] for case in cases}
        for title, labels in {"Reference": workspace.raw / "labelsTs", **systems(workspace)}.items()
        if title != "Ensemble"  # what post-processing changes can hardly be seen, and the picture is wide
    }
    images = {case: reader.read_images(workspace.images("Ts", case))[0] for case in cases}
    draw(
        workspace.picture,
        images,
        segmentations=segmentations,
        channel_names=channel_names(dataset_json),
        legend=label_legend(dataset_json["labels"]),
    )


def _reader(workspace: Workspace):
    """nnU-Net's reader for the data set's files; images are `(C, Z, Y, X)`."""
    from nnunet_ext.host.data import image_readers

    example = workspace.images("Tr", workspace.cases("Tr")[0])[0]
    return image_readers(workspace.dataset_json(), example)[0]()


def _show_last_line(progress: Progress, bar, position: str, log: Path) -> None:
    progress.update(bar, description=f"{position}: {escape(last_line(log))}")


def _print_line(console: Console, text: str) -> None:
    """Prints text as it is, so that a long command can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
