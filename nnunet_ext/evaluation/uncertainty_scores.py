"""What ``evaluate --uncertainty`` adds: whether uncertain voxels are the wrong ones, and flagged cases the bad ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.case import read_pair
from nnunet_ext.evaluation.case_scores import BAD_DICE, case_score_statistics
from nnunet_ext.evaluation.uncertainty_curves import Curves, curves
from nnunet_ext.evaluation.uncertainty_folder import UncertaintyFolder, read_uncertainty_folder
from nnunet_ext.images.map_image import read_map
from nnunet_ext.images.reader import read_array
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.parallel import map_cases

MAPS = ("entropy", "mutual_information")  # of those that there are


@dataclass(frozen=True)
class UncertaintyScores:
    """Scores of uncertainty on the cases of a result.

    Args:
        areas: A row a case, region and map: areas under the curves and the challenge's score.
        curves: ``(region, map)`` -> mean over the cases, for the figure.
        cases: A row a case and region: expected and real Dice, and whether it is flagged.
        statistics: A row a region: how well the expected Dice finds bad cases.
        counted: Where true negatives are counted: ``"head"`` or ``"image"``.
    """

    areas: pd.DataFrame
    curves: Mapping[tuple[str, str], Curves]
    cases: pd.DataFrame
    statistics: pd.DataFrame
    counted: str

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says about it; without a number: null."""
        means = self.areas.drop(columns="case").groupby(["region", "map"], sort=False).mean().reset_index()
        return {
            "true_negatives_of": self.counted,
            "bad_dice": BAD_DICE,
            "curves": _records(means),
            "bad_cases": _records(self.statistics),
        }


def score_uncertainty(
    folder: Path,
    references: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    labels: DatasetLabels,
    metrics: pd.DataFrame,
    images: Path | None = None,
    num_processes: int | None = None,
) -> UncertaintyScores:
    """Score the maps and the table that ``nnunet_ext uncertainty`` wrote.

    Args:
        folder: Folder that it wrote.
        references: Case -> label image; holds at least the cases of ``predictions``.
        predictions: Case -> label image.
        labels: The data set's labels.
        metrics: Rows of ``metrics.csv`` of the predictions.
        images: Folder of the images; true negatives are then counted where a channel is not 0, else everywhere.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Raises:
        InputError: The folder is another one, lacks a case or region, or a file cannot be used.
    """
    maps = read_uncertainty_folder(folder)
    table = maps.table()
    keys = ["case", "region"]
    cases = metrics[[*keys, "dice"]].merge(table[[*keys, "expected_dice", "flagged"]], on=keys, how="left")
    lacking = cases[cases["flagged"].isna()]
    if len(lacking):
        raise InputError([f"{folder}: lacks case '{row.case}', region '{row.region}'." for row in lacking.itertuples()])
    kinds = [kind for kind in MAPS if (folder / kind).is_dir()]
    if not kinds:
        raise InputError(f"{folder}: has no maps of {' or '.join(MAPS)}.")
    arguments = [
        (case, references[case], predictions[case], maps, kinds, labels, images) for case in sorted(predictions)
    ]
    of_cases = dict(
        zip(sorted(predictions), map_cases(_curves_of_case, arguments, num_processes, "Filtering"), strict=True)
    )
    areas = [
        {"case": case, "region": region, "map": kind, **found.areas()}
        for case, of_case in of_cases.items()
        for (region, kind), found in of_case.items()
    ]
    means = {
        key: Curves(*(np.mean([of_case[key][index] for of_case in of_cases.values()], axis=0) for index in range(3)))
        for key in next(iter(of_cases.values()))
    }
    statistics = [
        {"region": region, **case_score_statistics(rows["expected_dice"].to_numpy(), rows["dice"].to_numpy())}
        for region, rows in cases.groupby("region", sort=False)
    ]
    return UncertaintyScores(
        pd.DataFrame(areas), means, cases, pd.DataFrame(statistics), counted="image" if images is None else "head"
    )


def _curves_of_case(
    case: str,
    reference: Path,
    prediction: Path,
    maps: UncertaintyFolder,
    kinds: list[str],
    labels: DatasetLabels,
    images: Path | None,
) -> dict[tuple[str, str], Curves]:
    pair, problems = read_pair(reference, prediction, labels)
    if problems:
        raise InputError(problems)
    truth, predicted = pair
    scored = np.ones(truth.labels.shape, bool)
    if labels.ignore_label is not None:
        scored = truth.labels != labels.ignore_label
    counted = scored if images is None else scored & _head(case, images, labels, shape=scored.shape)
    return {
        (region.name, kind): curves(
            region.mask(truth.labels) & scored,
            region.mask(predicted.labels) & scored,
            read_map(maps.map_file(kind, region.name, case), truth.grid) / np.float32(maps.largest),
            counted,
        )
        for region in labels.regions
        for kind in kinds
    }


def _head(case: str, images: Path, labels: DatasetLabels, shape: tuple[int, ...]) -> np.ndarray:
    """Where any channel is not 0, which is the head in images without skull such as those of BraTS."""
    files = sorted(images.glob(f"{case}_[0-9][0-9][0-9][0-9]{labels.file_ending}"))
    if not files:
        raise InputError(f"{images}: no image of case '{case}'.")
    head = np.zeros(shape, bool)
    for file in files:
        channels = read_array(file, labels.content)[0]
        if channels[0].size != head.size:
            raise InputError(f"{file}: shape {channels.shape[1:]} differs from the label image's {shape}.")
        head |= (channels != 0).any(axis=0).reshape(shape)
    return head


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if value != value else value for name, value in row.items()} for row in table.to_dict("records")
    ]
