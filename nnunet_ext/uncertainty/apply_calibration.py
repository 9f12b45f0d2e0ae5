"""``nnunet_ext apply-calibration``: calibrated probabilities in a folder that nnU-Net's own commands take."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_folder, check_free
from nnunet_ext.labels.dataset_labels import DatasetLabels, find_dataset_json
from nnunet_ext.parallel import map_cases
from nnunet_ext.uncertainty.calibration_file import read_calibration
from nnunet_ext.uncertainty.members import SavedCase, channels_of, read_member, read_segmentations
from nnunet_ext.uncertainty.saved_probabilities import read_probabilities
from nnunet_ext.uncertainty.temperature import calibrated

VOXELS_AT_ONCE = 2**18  # what is computed with them is in double precision


class Applied(NamedTuple):
    """What was done.

    Attributes:
        new: Cases with the temperatures of all folds.
        fitted: Cases that the temperatures were fitted on, which got those that the other folds give.
        problems: What nnU-Net's commands will miss in the folder.
    """

    new: list[str]
    fitted: list[str]
    problems: list[str]


def apply_calibration(
    calibration_file: Path,
    predictions: Path,
    output: Path,
    *,
    dataset_json: Path | None = None,
    num_processes: int | None = None,
) -> Applied:
    """Write calibrated probabilities, and label images, properties, ``dataset.json`` and ``plans.json`` beside them.

    Temperatures change no label, so the label images are copies.

    Args:
        calibration_file: From :func:`nnunet_ext.uncertainty.calibrate.calibrate`.
        predictions: Folder of predictions with probabilities, or of a trained model (the predictions of all folds).
        output: Folder to write; must not exist, or be empty.
        dataset_json: The data set's ``dataset.json``; None looks for it in and above the folder.
        num_processes: Parallel processes, one case each; None takes one a processor, at most 8.

    Raises:
        InputError: Files that cannot be used, or a calibration of other regions.
    """
    check_free(output)
    calibration = read_calibration(calibration_file)
    member = read_member(predictions, dataset_json)
    channels = channels_of(member.labels)
    regions = [region.name for region in channels.regions.values()]
    if (regions, channels.exclusive) != (calibration.regions, calibration.exclusive):
        raise InputError(
            f"{calibration_file}: is for {_words(calibration.regions, calibration.exclusive)}, but {predictions} has "
            f"{_words(regions, channels.exclusive)}."
        )
    chosen = {case: calibration.temperatures_for(case) for case in sorted(member.cases)}
    source = dataset_json or find_dataset_json([predictions])
    problems = []
    with atomic_folder(output) as new:
        shutil.copy(source, new / "dataset.json")
        plans = source.with_name("plans.json")
        if plans.is_file():
            shutil.copy(plans, new / "plans.json")
        else:
            problems.append(f"No {plans}: name one with -plans_json where nnU-Net's commands ask for it.")
        arguments = [
            (member.cases[case], temperatures, new, member.labels) for case, (temperatures, _) in chosen.items()
        ]
        without = [case for case in map_cases(calibrate_case, arguments, num_processes, "Calibrating") if case]
        if without:
            problems.append(f"No .pkl of {', '.join(without)}: nnUNetv2_ensemble needs one.")
    return Applied(
        new=[case for case, (_, is_fitted) in chosen.items() if not is_fitted],
        fitted=[case for case, (_, is_fitted) in chosen.items() if is_fitted],
        problems=problems,
    )


def calibrate_case(saved: SavedCase, temperatures: Sequence[float], output: Path, labels: DatasetLabels) -> str | None:
    """Write the files of a case.

    Args:
        saved: Its predictions.
        temperatures: One a region, or a single one for classes.
        output: Folder to write to.
        labels: The data set's labels.

    Returns:
        Its name where there were no properties to copy, else None.

    Raises:
        InputError: The files cannot be used, or do not fit together.
    """
    read_segmentations([saved], labels)
    probabilities = read_probabilities(saved.probabilities)
    exclusive = channels_of(labels).exclusive
    step = max(1, VOXELS_AT_ONCE // int(np.prod(probabilities.shape[2:])))
    for start in range(0, probabilities.shape[1], step):
        part = probabilities[:, start : start + step]
        part[:] = calibrated(part, temperatures, exclusive)
    shutil.copy(saved.segmentation, output / saved.segmentation.name)
    np.savez_compressed(output / saved.probabilities.name, probabilities=probabilities)
    properties = saved.probabilities.with_suffix(".pkl")
    if not properties.is_file():
        return saved.probabilities.stem
    shutil.copy(properties, output / properties.name)
    return None


def _words(regions: Sequence[str], exclusive: bool) -> str:
    return f"the {'classes' if exclusive else 'regions'} {', '.join(regions)}"
