"""Aggregates over cases, as the papers' tables print them."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nnunet_ext.evaluation.detection import summarise_detection

# Column of metrics.csv -> heading. Not every result has all of them, see metrics_of.
METRICS = {
    "dice": "Dice",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "hd95": "HD95 [mm]",
    "hd95_without_penalty": "HD95 without penalised cases [mm]",
    "hd95_directed": "HD95 [mm]",
    "hd95_directed_without_penalty": "HD95 without penalised cases [mm]",
    "relative_volume_difference": "Relative volume difference",
    "nsd": "Surface Dice by area",
    "nsd_voxel": "Surface Dice by border voxels",
    "lesion_dice": "Lesion-wise Dice",
    "lesion_nsd": "Lesion-wise surface Dice by border voxels",
    "lesion_hd95": "Lesion-wise HD95 [mm]",
    "matched_lesion_dice": "Dice of matched lesions",
    "matched_lesion_nsd": "Surface Dice by border voxels of matched lesions",
    "matched_lesion_hd95": "HD95 of matched lesions [mm]",
    "lesion_tp": "True-positive lesions",
    "lesion_fp": "False-positive lesions",
    "lesion_fn": "False-negative lesions",
    "lesions_found": "Lesions found",
    "lesions_missed": "Lesions missed",
    "lesions_surplus": "Surplus lesions",
    "lesion_f1": "F1 of lesions",
    "lesion_sensitivity": "Sensitivity of lesions",
    "lesion_precision": "Precision of lesions",
}
OF_DEFINITION = ("lesion_dice", "lesion_nsd", "lesion_hd95", "matched_", "lesion_tp", "lesion_fp", "lesion_fn")
# Rows of Table 2 of Wang et al., BraTS 2020
STATISTICS = {"mean": "Mean", "std": "StdDev", "median": "Median", "q25": "25quantile", "q75": "75quantile", "n": "n"}


def heading(metric: str, how: Mapping[str, Any]) -> str:
    """Heading of a metric; it names the definition where without it the number means little.

    Args:
        metric: Column of ``metrics.csv``.
        how: From :func:`measured`, or a summary or row that holds the same.
    """
    definition = None
    if metric.startswith("hd95"):
        definition = "directed" if metric.startswith("hd95_directed") else how["hd95_definition"]
    elif metric.startswith("nsd"):
        definition = how.get("nsd_tolerance")
    elif metric.startswith(OF_DEFINITION):
        definition = how.get("lesions")
    elif metric.startswith("lesion"):
        definition = how.get("lesion_match")
    return METRICS[metric] if definition is None else f"{METRICS[metric]}, {definition}"


def measured(metrics: pd.DataFrame) -> dict[str, str]:
    """How rows of ``metrics.csv`` were measured, as words for headings and to tell two ways apart.

    Returns:
        ``convention``, ``hd95_definition`` (of the column ``hd95``), and where there are such columns
        ``nsd_tolerance``, ``lesions`` (the definition of the lesion-wise scores), ``lesion_match`` (when two lesions
        belong together, and which lesions count, for detection) and ``volume_unit``.
    """
    first = metrics.iloc[0]
    how = {"convention": str(first["convention"]), "hd95_definition": str(first["hd95_definition"])}
    if "nsd_tolerance" in metrics:
        of_region = metrics.groupby("region", sort=False)["nsd_tolerance"].first().dropna()
        words = [f"{region} {value:g} mm" for region, value in of_region.items()]
        equal = len(of_region) == metrics["region"].nunique() and of_region.nunique() == 1
        how["nsd_tolerance"] = f"{of_region.iloc[0]:g} mm" if equal else ", ".join(words)
    if "lesions" in metrics:
        unit = "mm²" if first["volume_unit"] == "mm2" else "mm³"
        how |= {"lesions": str(first["lesions"]), "volume_unit": unit, "lesion_match": f"Dice {first['match_dice']:g}"}
        if first["min_lesion_mm3"]:
            how["lesion_match"] += f" and {first['min_lesion_mm3']:g} {unit}"
    return how


def metrics_of(metrics: pd.DataFrame) -> list[str]:
    """Metrics that rows of ``metrics.csv`` hold, in the order of tables."""
    return [metric for metric in METRICS if metric in metrics]


def summarise(metrics: pd.DataFrame, lesions: pd.DataFrame | None = None) -> dict[str, Any]:
    """Aggregates of each region and metric.

    Args:
        metrics: Rows of ``metrics.csv``.
        lesions: Rows of ``lesions.csv``; with them each region has ``detection``, see
            :func:`nnunet_ext.evaluation.detection.summarise_detection`.

    Returns:
        What :func:`measured` returns, ``num_cases``, and ``regions``: name -> ``labels``, numbers of cases with empty
        masks, and each metric's statistics over the cases where it has a value. The standard deviation is that of a
        sample (n - 1); quantiles are interpolated linearly. A statistic of no values is None.
    """
    regions: dict[str, dict[str, Any]] = {}
    for name, rows in metrics.groupby("region", sort=False):
        empty = rows["empty"].value_counts()
        regions[str(name)] = {
            "labels": [int(label) for label in str(rows["labels"].iloc[0]).split()],
            "false_positive_cases": int(empty.get("reference", 0)),
            "false_negative_cases": int(empty.get("prediction", 0)),
            "both_empty_cases": int(empty.get("both", 0)),
            "metrics": {metric: _statistics(rows[metric]) for metric in metrics_of(metrics)},
        }
        if lesions is not None:
            regions[str(name)]["detection"] = summarise_detection(lesions[lesions["region"] == name])
    return {
        **measured(metrics),
        "num_cases": int(metrics["case"].nunique()),
        "regions": regions,
    }


def _statistics(values: pd.Series) -> dict[str, float | int | None]:
    present = values.dropna()
    statistics = {
        "mean": present.mean(),
        "std": present.std(ddof=1),
        "median": present.median(),
        "q25": present.quantile(0.25),
        "q75": present.quantile(0.75),
    }
    rounded = {name: None if math.isnan(value) else float(value) for name, value in statistics.items()}
    return {**rounded, "n": len(present)}
