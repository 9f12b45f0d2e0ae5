"""``nnunet_ext calibrate``: temperatures from cross-validation predictions, judged on folds left out."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np

from nnunet_ext import __version__
from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.case import read_pair
from nnunet_ext.evaluation.evaluate import pair_files
from nnunet_ext.files.atomic import atomic_files, check_writable, write_text_atomically
from nnunet_ext.files.figure import save_figure
from nnunet_ext.labels.dataset_labels import DatasetLabels, Region
from nnunet_ext.parallel import map_cases
from nnunet_ext.uncertainty.calibration_file import CalibratedFold, Calibration, HeldOut
from nnunet_ext.uncertainty.calibration_tally import TEMPERATURES, UNCHANGED, Tally, no_voxels, tally
from nnunet_ext.uncertainty.members import (
    SavedCase,
    channels_of,
    check_disjoint,
    check_same_labels,
    read_member,
    read_segmentations,
)
from nnunet_ext.uncertainty.reliability_figure import reliability_figure
from nnunet_ext.uncertainty.saved_probabilities import read_probabilities

# Voxels around reference and prediction that count. Our choice: far away everything is background and every model is
# sure of it, so that with the whole image the score would tell how much air it has
MARGIN = 10
VOXELS_AT_ONCE = 2**18  # what is computed with them is in double precision


def calibrate(
    folders: Sequence[Path],
    references: Path,
    output: Path,
    *,
    dataset_json: Path | None = None,
    num_processes: int | None = None,
) -> Calibration:
    """Fit temperatures and write them to ``output``, with a reliability diagram beside it (``.png``).

    Args:
        folders: Folders of validation predictions with probabilities, one a fold, or of trained models (all folds).
        references: Folder of the cases' label images.
        output: JSON file to write.
        dataset_json: The data set's ``dataset.json``; None looks for it in and above each folder.
        num_processes: Parallel processes, one case each; None takes one a processor, at most 8.

    Raises:
        InputError: Fewer than two folds, a case in two of them, test cases, or files that cannot be used, all problems
            listed.
    """
    if output.suffix != ".json" or output.is_dir():
        raise InputError(f"{output}: name a file that ends in .json.")
    members = [read_member(folder, dataset_json) for folder in folders]
    check_same_labels(members)
    labels = members[0].labels
    if len({path.resolve() for member in members for path in member.folds}) < sum(len(m.folds) for m in members):
        raise InputError("The same fold is given twice.")
    folds = {path: cases for member in members for path, cases in member.folds.items()}
    check_disjoint(folds)
    if len(folds) < 2:
        raise InputError(
            f"Only one fold, {next(iter(folds))}: temperatures are judged on folds left out, so give at least two."
        )
    _refuse_test_cases(folds, references, labels)
    reference_files = _reference_files(folds, references, labels)
    check_writable(output.parent)
    arguments = [
        (saved, reference_files[case], labels) for cases in folds.values() for case, saved in sorted(cases.items())
    ]
    counted = iter(map_cases(tally_case, arguments, num_processes, "Counting"))
    by_fold = {path: {case: next(counted) for case in sorted(cases)} for path, cases in folds.items()}
    calibration = fit(by_fold, labels)
    with atomic_files(output.parent) as new:
        write_text_atomically(new / output.name, calibration.model_dump_json(indent=4) + "\n")
        save_figure(reliability_figure(calibration), new / f"{output.stem}.png")
    return calibration


def tally_case(saved: SavedCase, reference: Path, labels: DatasetLabels) -> Tally | None:
    """Counts of a case in the box around what reference and prediction have; None where they have nothing.

    Args:
        saved: Its predictions.
        reference: Its label image.
        labels: The data set's labels.

    Raises:
        InputError: The files cannot be used, or do not fit together.
    """
    read_segmentations([saved], labels)
    images, problems = read_pair(reference, saved.segmentation, labels)
    if problems:
        raise InputError(problems)
    channels = channels_of(labels)
    probabilities = read_probabilities(saved.probabilities)
    truth, predicted = (image.labels.reshape(probabilities.shape[1:]) for image in images)
    counts = np.ones(truth.shape, bool) if labels.ignore_label is None else truth != labels.ignore_label
    box = box_around(counts & ((truth > 0) | (predicted > 0)))
    if box is None:
        return None
    in_box = (slice(None), *box)
    values, inside, kept = probabilities[in_box], truth[box], counts[box]
    step = max(1, VOXELS_AT_ONCE // int(np.prod(kept.shape[1:])))
    parts = [slice(start, start + step) for start in range(0, len(kept), step)]
    return reduce(
        add,
        (
            tally(values[:, part][:, kept[part]], _truth(inside[part][kept[part]], channels.regions, labels),
                  channels.exclusive)
            for part in parts
        ),
    )  # fmt: skip


def box_around(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Box around a mask with :data:`MARGIN`; None where it is empty."""
    if not mask.any():
        return None
    axes = range(mask.ndim)
    spans = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(max(int(span[0]) - MARGIN, 0), int(span[-1]) + MARGIN + 1) for span in spans)


def fit(by_fold: Mapping[Path, Mapping[str, Tally | None]], labels: DatasetLabels) -> Calibration:
    """Temperatures of all folds and of all but each, and scores on the folds left out.

    Args:
        by_fold: Folder of the fold -> case -> its counts.
        labels: The data set's labels.

    Raises:
        InputError: Fewer than two folds have anything to count.
    """
    channels = channels_of(labels)
    regions = [region.name for region in channels.regions.values()]
    nothing = no_voxels(len(regions), channels.exclusive)
    of_folds = {
        path: sum((one for one in cases.values() if one is not None), start=nothing) for path, cases in by_fold.items()
    }
    empty = [str(path) for path, one in of_folds.items() if not one.voxels]
    if empty:
        raise InputError(f"{empty[0]}: neither its references nor its predictions have a voxel of any region.")
    everything = sum(of_folds.values(), start=nothing)
    folds, before, after = [], [], []
    for path, own in of_folds.items():
        others = sum((one for other, one in of_folds.items() if other != path), start=nothing).best()
        before.append(own.at([UNCHANGED] * len(others)))
        after.append(own.at(others))
        folds.append(
            CalibratedFold(
                folder=str(path),
                cases=sorted(by_fold[path]),
                temperatures=[float(TEMPERATURES[index]) for index in others],
            )
        )
    scores_before, scores_after = reduce(add, before), reduce(add, after)
    return Calibration(
        nnunet_ext=__version__,
        regions=regions,
        exclusive=channels.exclusive,
        temperatures=[float(TEMPERATURES[index]) for index in everything.best()],
        folds=folds,
        held_out={
            region: HeldOut(before=scores_before.reliability(index), after=scores_after.reliability(index))
            for index, region in enumerate(regions)
        },
        voxels=everything.voxels,
        margin=MARGIN,
        without_foreground=sorted(
            case for cases in by_fold.values() for case, counts in cases.items() if counts is None
        ),
    )


def at_the_end(calibration: Calibration) -> list[str]:
    """What has the smallest or largest temperature there is to choose, so that the best one may lie beyond."""
    ends = (float(TEMPERATURES[0]), float(TEMPERATURES[-1]))
    return [name for name, value in calibration.named(calibration.temperatures).items() if value in ends]


def _truth(label_map: np.ndarray, regions: Mapping[int, Region], labels: DatasetLabels) -> np.ndarray:
    if labels.has_regions:
        return np.stack([region.mask(label_map) for region in regions.values()])
    return np.searchsorted(sorted(labels.values), label_map)


def _refuse_test_cases(folds: Mapping[Path, Mapping[str, SavedCase]], references: Path, labels: DatasetLabels) -> None:
    """Refuse cases that the references' data set keeps for the test."""
    if references.resolve().name == "labelsTs":
        raise InputError(f"{references}: test data. Temperatures are fitted on the training cases' cross-validation.")
    test = references.resolve().parent
    problems = [
        f"{path / case}: a test case, its images are in {test / 'imagesTs'}. Fit on the cross-validation."
        for path, cases in folds.items()
        for case in sorted(cases)
        if (test / "imagesTs" / f"{case}_0000{labels.file_ending}").exists()
        or (test / "labelsTs" / f"{case}{labels.file_ending}").exists()
    ]
    if problems:
        raise InputError(problems)


def _reference_files(
    folds: Mapping[Path, Mapping[str, SavedCase]], references: Path, labels: DatasetLabels
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in folds:
        files |= pair_files(references, path, labels.file_ending, only_predicted=True)[0]
    return files
