"""Dice per region and system, from the summaries nnU-Net's evaluation writes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.tables import TextTable, text_table


def dice_per_case(summary: Path, dataset_json: Mapping) -> dict[str, list[float]]:
    """Dice of every case: region or label name -> values, nan where reference and prediction are both empty.

    Args:
        summary: A `summary.json` of nnU-Net.
        dataset_json: Content of the data set's `dataset.json`.
    """
    cases = json.loads(summary.read_text())["metric_per_case"]
    values = {}
    for name, label in dataset_json["labels"].items():
        if name in ("background", "ignore"):
            continue
        key = _key(label, cases[0]["metrics"])
        values[name] = [float(case["metrics"][key]["Dice"]) for case in cases]
    return values


def dice_table(summaries: Mapping[str, Path], dataset_json: Mapping) -> TextTable:
    """Table of mean Dice, one row a system and one column a region; the caption says how empty regions count."""
    scores = {system: dice_per_case(summary, dataset_json) for system, summary in summaries.items()}
    regions = list(next(iter(scores.values())))
    number = len(next(iter(scores.values()))[regions[0]])
    return text_table(
        ["System", *regions],
        [[system, *(_mean(values[region]) for region in regions)] for system, values in scores.items()],
        title=f"Mean Dice on {number} test case{'s' if number != 1 else ''}",
        caption="nan: a region that is empty in reference and prediction has no Dice; nnU-Net leaves such cases out of "
        "the mean. A region predicted where the reference has none counts as 0.",
    )


def _mean(values: list[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    text = f"{sum(known) / len(known):.3f}" if known else "nan"
    absent = len(values) - len(known)
    return f"{text} ({absent} nan)" if absent else text


def _key(label: int | list[int], metrics: Mapping) -> str:
    """nnU-Net's key: a tuple for a region; for a plain label, also one written as a list, the number."""
    region = str(tuple(label)) if isinstance(label, list) else str(label)
    return region if region in metrics else str(label[0] if isinstance(label, list) else label)
