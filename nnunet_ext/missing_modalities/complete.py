"""``nnunet_ext complete``: a folder with incomplete cases becomes one that nnU-Net's commands take."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_folder, check_free
from nnunet_ext.files.channel_files import channel_files, labelled_cases
from nnunet_ext.images.case_check import CONSTANT, MISSING, check_case
from nnunet_ext.missing_modalities.constant_image import write_constant
from nnunet_ext.missing_modalities.fill_values import fill_values
from nnunet_ext.missing_modalities.presence import write_presence
from nnunet_ext.parallel import map_cases
from nnunet_ext.plans.modalities import channel_names

if TYPE_CHECKING:
    import pandas as pd


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

    @property
    def table(self) -> "pd.DataFrame":
        """Whether a case had a channel: rows cases, columns channels."""
        import pandas as pd  # here, since the processes that write images import this file too

        rows = {case: [name in present for name in self.names] for case, present in self.present.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(self.names)).rename_axis("case")


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
    if bare := [case for case in labelled_cases(source, ending) if case not in cases]:
        labels = source.name.replace("images", "labels", 1)
        raise InputError([f"{source}: case {case} has labels in {labels} and no image." for case in bare])
    check_free(output)
    map_cases(_check, [(case, files, dataset_json, names) for case, files in cases.items()], num_processes, "Checking")
    with atomic_folder(output) as partial:
        work = [(case, files, partial, values, ending, copy) for case, files in cases.items()]
        map_cases(_write_case, work, num_processes, "Writing")
        present = {case: tuple(names[channel] for channel in sorted(files)) for case, files in cases.items()}
        write_presence(partial, names, present)
    return CompletedFolder(output, tuple(names), present)


def _check(case: str, files: dict[int, Path], dataset_json: dict[str, Any], names: Sequence[str]) -> None:
    found = check_case(case, files, dataset_json, names=names).findings
    # what is missing is what this is for, and what is constant may be completed already
    problems = [each.message for each in found if each.severity == "error" and each.kind not in (MISSING, CONSTANT)]
    if problems:
        raise InputError(problems)


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
