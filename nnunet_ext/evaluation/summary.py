"""Aggregates over cases, as the papers' tables print them."""

import math
from typing import Any

import pandas as pd

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
}
# Rows of Table 2 of Wang et al., BraTS 2020
STATISTICS = {"mean": "Mean", "std": "StdDev", "median": "Median", "q25": "25quantile", "q75": "75quantile", "n": "n"}


def heading(metric: str, hd95_definition: str) -> str:
    """Heading of a metric; that of HD95 names its definition, without which the number means little.

    Args:
        metric: Column of ``metrics.csv``.
        hd95_definition: Definition of the column ``hd95``.
    """
    if not metric.startswith("hd95"):
        return METRICS[metric]
    return f"{METRICS[metric]}, {'directed' if metric.startswith('hd95_directed') else hd95_definition}"


def metrics_of(metrics: pd.DataFrame) -> list[str]:
    """Metrics that rows of ``metrics.csv`` hold, in the order of tables."""
    return [metric for metric in METRICS if metric in metrics]


def summarise(metrics: pd.DataFrame) -> dict[str, Any]:
    """Aggregates of each region and metric.

    Args:
        metrics: Rows of ``metrics.csv``.

    Returns:
        ``convention``, ``hd95_definition`` (of the column ``hd95``), ``num_cases``, and ``regions``: name ->
        ``labels``, numbers of cases with empty masks, and each metric's statistics over the cases where it has a value.
        The standard deviation is that of a sample (n - 1); quantiles are interpolated linearly. A statistic of no
        values is None.
    """
    regions = {}
    for name, rows in metrics.groupby("region", sort=False):
        empty = rows["empty"].value_counts()
        regions[str(name)] = {
            "labels": [int(label) for label in str(rows["labels"].iloc[0]).split()],
            "false_positive_cases": int(empty.get("reference", 0)),
            "false_negative_cases": int(empty.get("prediction", 0)),
            "both_empty_cases": int(empty.get("both", 0)),
            "metrics": {metric: _statistics(rows[metric]) for metric in metrics_of(metrics)},
        }
    return {
        "convention": str(metrics["convention"].iloc[0]),
        "hd95_definition": str(metrics["hd95_definition"].iloc[0]),
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
