"""All that is wrong or strange in a folder of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.checking.labels import check_labels
from nnunet_ext.checking.training_files import TrainingFiles, complete_shapes, read_training_data, reader_of
from nnunet_ext.checking.unlike_training import FEWEST_CASES, TrainingData, unlike_training
from nnunet_ext.errors import InputError
from nnunet_ext.files.channel_files import labelled_cases, sort_files
from nnunet_ext.images.case_check import CaseCheck, Finding, check_case
from nnunet_ext.labels.dataset_labels import DatasetLabels, dataset_labels
from nnunet_ext.missing_modalities.presence import PRESENCE_FILE, read_presence
from nnunet_ext.parallel import map_cases

TRAINING_FOLDER = "imagesTr"


@dataclass(frozen=True)
class FolderCheck:
    """What was found in a folder of images.

    Args:
        folder: The folder.
        num_files: Files of all cases.
        cases: Case -> errors and warnings; every case is there. ``""`` holds those of files that belong to no case.
        notes: What was not compared, and why.
    """

    folder: Path
    num_files: int
    cases: dict[str, list[Finding]]
    notes: tuple[str, ...]

    def of(self, severity: str) -> list[Finding]:
        """All errors, or all warnings."""
        return [finding for findings in self.cases.values() for finding in findings if finding.severity == severity]

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "images": str(self.folder),
            "num_cases": len([case for case in self.cases if case]),
            "num_files": self.num_files,
            "num_errors": len(self.of("error")),
            "num_warnings": len(self.of("warning")),
            "notes": list(self.notes),
            "findings": [
                {"case": case, **finding._asdict()} for case, findings in self.cases.items() for finding in findings
            ],
        }


def check_folder(folder: Path, files: TrainingFiles, num_processes: int | None = None) -> FolderCheck:
    """Read every image of a folder, and the labels of an ``imagesTr``, and say what is wrong; nothing is written.

    Args:
        folder: Folder of images in nnU-Net's naming.
        files: What is known about the training data.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Raises:
        InputError: There is no such folder, it has no image, or a description of the data set is unusable.
    """
    names, ending = files.names, files.dataset_json["file_ending"]
    cases, misnamed = sort_files(folder, names, ending)
    if not cases and not misnamed:
        raise InputError(f"{folder}: no files named CASE_XXXX{ending}.")
    labels = dataset_labels(files.dataset_json, folder)
    labels_folder = folder.with_name("labelsTr") if folder.name == TRAINING_FOLDER else None
    filled = _filled(folder, names)
    reader = reader_of(files, next(iter(next(iter(cases.values())).values()))) if cases else None
    work = [
        (case, own, files.dataset_json, names, filled.get(case, ()), reader, labels_folder, labels)
        for case, own in cases.items()
    ]
    checks = dict(zip(cases, map_cases(_check, work, num_processes, "Checking"), strict=True)) if work else {}
    shapes = None
    if files.images is not None and files.images.resolve() == folder.resolve():
        complete = {case: complete_shapes(check.shapes, len(names)) for case, check in checks.items()}
        shapes = {case: found for case, found in complete.items() if found is not None}
    training = read_training_data(files, shapes, num_processes)
    found = {case: [*check.findings, *unlike_training(case, check, training)] for case, check in checks.items()}
    others = [Finding("error", "surplus file", problem) for problem in misnamed]
    if labels_folder is not None:
        others += [
            Finding("error", "no image", f"{labels_folder / (case + ending)}: there is no image of case {case}.")
            for case in labelled_cases(folder, ending)
            if case not in cases
        ]
    if others:
        found[""] = others
    return FolderCheck(folder, sum(map(len, cases.values())), found, _notes(files, training))


def _check(
    case: str,
    own: Mapping[int, Path],
    dataset_json: Mapping[str, Any],
    names: Sequence[str],
    filled: Sequence[int],
    reader: str | None,
    labels_folder: Path | None,
    labels: DatasetLabels,
) -> CaseCheck:
    check = check_case(case, own, dataset_json, names=names, filled=filled, reader=reader)
    if labels_folder is not None:
        check.findings += check_labels(labels_folder / f"{case}{labels.file_ending}", check.grid, labels)
    return check


def _filled(folder: Path, names: Sequence[str]) -> dict[str, list[int]]:
    """Case -> channels whose files stand for missing ones."""
    if not (folder / PRESENCE_FILE).is_file():
        return {}
    channels, present = read_presence(folder)
    return {
        case: [number for number, name in enumerate(names) if name in channels and name not in has]
        for case, has in present.items()
    }


def _notes(files: TrainingFiles, training: TrainingData) -> tuple[str, ...]:
    notes = []
    if training.spacings is None:
        notes.append(f"{files.fingerprint.name} is not there: spacing and range of intensities were not compared.")
    if len(training.shapes) < FEWEST_CASES and len(training.names) > 1:
        where = f"in {files.images}" if files.images is not None else "without nnUNet_raw"
        notes.append(
            f"{len(training.shapes)} training cases {where}, of {FEWEST_CASES} that are needed: swapped channels are "
            "seen only where their ranges of intensities lie apart."
        )
    return tuple(notes)
