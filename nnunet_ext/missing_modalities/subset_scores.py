"""``nnunet_ext subsets``: Dice of a model from every subset of the modalities, and what each modality is worth."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nnunet_ext.errors import InputError, UserError
from nnunet_ext.evaluation.case import read_pair
from nnunet_ext.evaluation.conventions import CONVENTIONS, default_convention
from nnunet_ext.evaluation.evaluate import write_csv
from nnunet_ext.evaluation.overlap import count_voxels, dice
from nnunet_ext.files.atomic import atomic_files, write_text_atomically
from nnunet_ext.labels.dataset_labels import DatasetLabels, read_dataset_labels
from nnunet_ext.missing_modalities.shapley import (
    Channels,
    all_subsets,
    estimated_shapley_values,
    sample_orders,
    shapley_values,
    subsets_of_orders,
)
from nnunet_ext.missing_modalities.subset_figures import draw_heat_map, draw_shapley
from nnunet_ext.missing_modalities.subset_table import subsets_as_markdown
from nnunet_ext.missing_modalities.subsets import SubsetPredictor, subset_name
from nnunet_ext.plans.modalities import channel_index
from nnunet_ext.trained.loaded_model import PredictionChoices

MOST_SUBSETS = 63  # of six modalities; more take a list or a sample


@dataclass(frozen=True)
class SubsetScores:
    """What a model makes of subsets of the modalities.

    Args:
        names: Names of the channels, in order.
        subsets: Channels of every subset, in the order of the tables.
        dice: One row a subset, case and region: ``subset``, ``case``, ``region``, ``dice``.
        shapley: One row a modality, case and region: ``modality``, ``case``, ``region``, ``shapley``; None where the
            subsets are too few to tell.
        convention: Name of the convention for empty regions.
        orders: Number of random orders that ``shapley`` is estimated from; None where it is exact.
    """

    names: tuple[str, ...]
    subsets: tuple[Channels, ...]
    dice: pd.DataFrame
    shapley: pd.DataFrame | None
    convention: str
    orders: int | None

    @property
    def worth(self) -> pd.DataFrame | None:
        """Mean Shapley value over the cases: rows modalities, columns regions and ``mean``, their average."""
        if self.shapley is None:
            return None
        means = self.shapley.pivot_table(index="modality", columns="region", values="shapley", sort=False)
        return means.assign(mean=means.mean(axis=1))

    @property
    def table(self) -> pd.DataFrame:
        """Mean Dice over the cases: rows subsets, columns regions and ``mean``, their average."""
        means = self.dice.pivot_table(index="subset", columns="region", values="dice", sort=False, dropna=False)
        order = [subset_name(subset, self.names) for subset in self.subsets]
        means = means.loc[order, list(dict.fromkeys(self.dice["region"]))]
        return means.assign(mean=means.mean(axis=1))


def score_subsets(
    choices: PredictionChoices,
    images: Path,
    references: Path,
    output: Path,
    keep: Sequence[Sequence[str]] = (),
    n_orders: int | None = None,
    convention: str | None = None,
    device: torch.device | None = None,
) -> SubsetScores:
    """Predict subsets of the modalities and write predictions, tables and figures; an interrupted call continues.

    Args:
        choices: Model and how it predicts.
        images: Folder of complete cases.
        references: Folder of their label images.
        output: Folder to write.
        keep: Channel names of each subset to predict; empty takes all subsets.
        n_orders: Number of random orders of the modalities whose subsets are predicted instead of all.
        convention: What empty regions count; None takes the data set's default.
        device: Where the network runs; None is the CPU.

    Raises:
        UserError: Unknown channels, too many subsets, or a model that cannot be used.
        InputError: Images or references that cannot be used.
    """
    predictor = SubsetPredictor(choices, images, device or torch.device("cpu"))
    labels = read_dataset_labels(Path(choices.model) / "dataset.json")
    convention = convention or default_convention(labels)
    pairs = {case: references / f"{case}{predictor.ending}" for case in predictor.cases}
    if missing := [f"{path}: no such reference." for path in pairs.values() if not path.is_file()]:
        raise InputError(missing)
    n_channels = len(predictor.names)
    orders = sample_orders(n_channels, n_orders) if n_orders else None
    subsets = choose_subsets(predictor.names, keep, orders)
    rows = []
    for subset, case, file in predictor.predict(subsets, output):
        for region, value in dice_of_case(pairs[case], file, labels, convention).items():
            rows.append({"subset": subset_name(subset, predictor.names), "case": case, "region": region, "dice": value})
    frame = pd.DataFrame(rows)
    empty = {
        (case, region): value
        for case, path in pairs.items()
        for region, value in dice_of_case(path, None, labels, convention).items()
    }
    scores = SubsetScores(
        names=tuple(predictor.names),
        subsets=tuple(subsets),
        dice=frame,
        shapley=_shapley_frame(frame, empty, names=predictor.names, subsets=subsets, orders=orders),
        convention=convention,
        orders=n_orders,
    )
    _write(scores, output)
    return scores


def choose_subsets(
    names: Sequence[str], keep: Sequence[Sequence[str]], orders: Sequence[Channels] | None
) -> list[Channels]:
    """Subsets to predict: those asked for, those that random orders pass through, or all.

    Raises:
        UserError: Both were asked for, a channel does not exist, or there are more than 63 subsets.
    """
    if keep and orders:
        raise UserError("Choose subsets with --keep or a sample of all with --sample, not both.")
    if keep:
        chosen = {tuple(sorted({channel_index(name, names) for name in subset})) for subset in keep}
        return sorted(chosen, key=lambda subset: (len(subset), subset))
    if orders:
        return subsets_of_orders(orders)
    if 2 ** len(names) - 1 > MOST_SUBSETS:
        raise UserError(
            f"{len(names)} modalities have {2 ** len(names) - 1} subsets. Choose some with --keep "
            f"{','.join(names[:2])} (repeatable), or estimate from random orders with --sample 20."
        )
    return all_subsets(len(names))


def dice_of_case(reference: Path, prediction: Path | None, labels: DatasetLabels, convention: str) -> dict[str, float]:
    """Dice of every region of a case.

    Args:
        reference: Label image of the reference.
        prediction: Label image of the prediction; None is an empty one, which no modality at all leaves.
        labels: Regions to score.
        convention: Name of one of ``CONVENTIONS``.

    Raises:
        InputError: A file cannot be used.
    """
    images, problems = read_pair(reference, prediction or reference, labels)
    if problems:
        raise InputError(problems)
    truth, predicted = images
    scored = np.ones(truth.labels.shape, bool)
    if labels.ignore_label is not None:
        scored = truth.labels != labels.ignore_label
    values = {}
    for region in labels.regions:
        expected = region.mask(truth.labels) & scored
        found = region.mask(predicted.labels) & scored if prediction else np.zeros_like(expected)
        value = dice(count_voxels(expected, found, int(np.count_nonzero(scored))))
        values[region.name] = CONVENTIONS[convention].both_empty if math.isnan(value) else value
    return values


def _shapley_frame(
    frame: pd.DataFrame,
    empty: dict[tuple[str, str], float],
    names: Sequence[str],
    subsets: Sequence[Channels],
    orders: Sequence[Channels] | None,
) -> pd.DataFrame | None:
    if orders is None and len(subsets) < 2 ** len(names) - 1:
        return None
    keys = list(empty)  # case and region of each value
    by_subset = frame.set_index(["subset", "case", "region"])["dice"]
    scores: dict[Channels, np.ndarray] = {(): np.array([empty[key] for key in keys])}
    for subset in subsets:
        scores[subset] = np.array([by_subset[subset_name(subset, names), case, region] for case, region in keys])
    values = estimated_shapley_values(scores, orders) if orders else shapley_values(scores, len(names))
    return pd.DataFrame(
        {"modality": name, "case": case, "region": region, "shapley": values[channel, index]}
        for channel, name in enumerate(names)
        for index, (case, region) in enumerate(keys)
    )


def _write(scores: SubsetScores, output: Path) -> None:
    summary = {
        "convention": scores.convention,
        "num_cases": int(scores.dice["case"].nunique()),
        "subsets": _as_json(scores.table),
        "mean_over_subsets": json.loads(scores.table.mean().to_json()),
        "shapley": None if scores.worth is None else _as_json(scores.worth),
        "shapley_estimated_from_orders": scores.orders,
    }
    with atomic_files(output) as new:
        write_csv(scores.dice, new / "dice.csv")
        draw_heat_map(scores.table, new / "dice.png")
        if scores.shapley is not None:
            write_csv(scores.shapley, new / "shapley.csv")
            draw_shapley(scores.shapley, scores.orders, new / "shapley.png")
        write_text_atomically(new / "summary.md", subsets_as_markdown(scores))
        write_text_atomically(new / "summary.json", json.dumps(summary, indent=4) + "\n")


def _as_json(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    return json.loads(table.to_json(orient="index", double_precision=15))
