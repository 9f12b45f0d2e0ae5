"""What is wrong with the label images of training cases."""

from pathlib import Path

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.images.case_check import Finding
from nnunet_ext.images.grid import Grid, grid_difference
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.labels.label_image import read_label_image


def check_labels(file: Path, grid: Grid | None, labels: DatasetLabels) -> list[Finding]:
    """Say what is wrong with the label image of a training case.

    Args:
        file: Label image.
        grid: That of the case's images; None where none can be read.
        labels: The data set's labels.
    """
    try:
        truth = read_label_image(file, labels.content)
    except InputError as error:
        return [Finding("error", "labels", problem) for problem in error.problems]
    found = []
    allowed = labels.values | ({labels.ignore_label} if labels.ignore_label is not None else set())
    if unknown := sorted(set(np.unique(truth.labels).tolist()) - allowed):
        message = f"{file}: label values {unknown} are not in dataset.json, which has {sorted(allowed)}."
        found.append(Finding("error", "labels", message))
    if grid is not None and (difference := grid_difference(truth.grid, grid)):
        found.append(Finding("error", "other grid", f"{file}: {difference} as in the images."))
    return found
