"""``nnunet_ext complete``: a folder with incomplete cases becomes one that nnU-Net's commands take."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_folder, check_free
from nnunet_ext.labels.label_image import Grid, grid_difference, read_image_grid
from nnunet_ext.missing_modalities.channel_files import channel_files
from nnunet_ext.missing_modalities.constant_image import write_constant
from nnunet_ext.missing_modalities.fill_values import fill_values
from nnunet_ext.missing_modalities.presence import write_presence
from nnunet_ext.parallel import map_cases
from nnunet_ext.plans.modalities import channel_names


@dataclass(frozen=True)
class CompletedFolder:
    """What was written.

    Args:
        folder: The folder.
        names: Names of the channels, in order.
        present: Case -> names of the channels that it has.
    """

    folder: Path
    names: tuple[str, ...]
    present: dict[str, tuple[str, ...]]

    @property
    def incomplete(self) -> dict[str, tuple[str, ...]]:
        """Cases that lack a channel -> names of the channels that they have."""
        return {case: present for case, present in self.present.items() if len(present) < len(self.names)}


def complete_folder(
    source: Path,
    output: Path,
    dataset_json: dict[str, Any],
    plans: dict[str, Any] | None,
    copy: bool = False,
    num_processes: int | None = None,
) -> CompletedFolder:
    """Write a folder in which every case has all channels: links to what is there, and files that mean "missing".

    A missing channel is written on the case's grid with the raw value that normalization turns into 0, see
    :func:`nnunet_ext.missing_modalities.fill_values.fill_values`. ``modalities.json`` says what each case had.

    Args:
        source: Folder of ``CASE_XXXX`` files; a sibling ``labelsTr`` of ``imagesTr`` (or ``labelsTs`` of
            ``imagesTs``) says which cases there must be.
        output: Folder to write; must not exist, or be empty.
        dataset_json: Content of ``dataset.json``.
        plans: Content of the plans file whose normalization counts; None where nothing is planned yet.
        copy: Copy the files that are there instead of linking to them.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Raises:
        InputError: Files that belong to no channel, a labelled case without any file, unreadable files, other grids
            within a case, an output that exists; all problems listed, nothing written.
    """
    names, ending = channel_names(dataset_json), dataset_json["file_ending"]
    cases = channel_files(source, names, ending)
    values = fill_values(dataset_json, plans)
    if problems := _without_any_file(source, set(cases), ending):
        raise InputError(problems)
    check_free(output)
    map_cases(check_case, [(files, dataset_json) for files in cases.values()], num_processes, "Checking")
    with atomic_folder(output) as partial:
        work = [(case, files, partial, values, ending, copy) for case, files in cases.items()]
        map_cases(_write_case, work, num_processes, "Writing")
        present = {case: tuple(names[channel] for channel in sorted(files)) for case, files in cases.items()}
        write_presence(partial, names, present)
    return CompletedFolder(output, tuple(names), present)


def check_case(files: dict[int, Path], dataset_json: dict[str, Any]) -> None:
    """Check that the files of a case are readable images of one channel on one grid.

    Raises:
        InputError: They are not.
    """
    first: tuple[Path, Grid] | None = None
    problems = []
    for path in files.values():
        try:
            grid = read_image_grid(path, dataset_json)
        except InputError as error:
            problems += error.problems
            continue
        first = first or (path, grid)
        if difference := grid_difference(grid, first[1]):
            problems.append(f"{path}: {difference} as in {first[0].name}.")
    if problems:
        raise InputError(problems)


def _without_any_file(source: Path, cases: set[str], ending: str) -> list[str]:
    if not source.name.startswith("images"):
        return []
    labels = source.with_name(source.name.replace("images", "labels", 1))
    labelled = sorted(path.name.removesuffix(ending) for path in labels.glob(f"*{ending}") if path.name[0] != ".")
    return [
        f"{source}: case {case} has labels in {labels.name} and no image." for case in labelled if case not in cases
    ]


def _write_case(
    case: str, files: dict[int, Path], folder: Path, values: Sequence[float], ending: str, copy: bool
) -> None:
    template = next(iter(files.values()))
    for channel, value in enumerate(values):
        target = folder / f"{case}_{channel:04d}{ending}"
        if channel not in files:
            write_constant(template, target, value)
        elif copy:
            shutil.copyfile(files[channel], target)
        else:
            target.symlink_to(files[channel].resolve())
