"""Detection over all cases: how many lesions are found, and how that depends on their size."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from nnunet_ext.evaluation.lesions import detection_counts

# Bounds of the groups of lesions by volume in mm³ (2d: mm²): half decades, as lesions spread over several.
# Not standard: our choice.
VOLUME_BOUNDS = (0.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0, 100000.0, math.inf)


def summarise_detection(lesions: pd.DataFrame) -> dict[str, Any]:
    """Counts over the lesions of all cases together, in contrast to a mean over cases.

    Args:
        lesions: Rows of ``lesions.csv`` of one region.

    Returns:
        What :func:`nnunet_ext.evaluation.lesions.detection_counts` returns, None in place of NaN, and
        ``sensitivity_by_volume``, the rows of :func:`sensitivity_by_volume`.
    """
    counts = detection_counts(lesions["kind"].tolist())
    rounded = {name: None if math.isnan(value) else value for name, value in counts.items()}
    return {**rounded, "sensitivity_by_volume": sensitivity_by_volume(lesions)}


def sensitivity_by_volume(lesions: pd.DataFrame) -> list[dict[str, Any]]:
    """Found part of the reference's lesions, one row a group of volumes that has lesions.

    Args:
        lesions: Rows of ``lesions.csv`` of one region.

    Returns:
        ``from`` and ``below`` (None: no upper bound) in mm³, in 2d mm²; ``lesions``, ``found``, ``sensitivity``, and
        ``ci_low`` and ``ci_high``, its 95 % interval by Wilson.
    """
    of_reference = lesions[lesions["kind"] != "surplus"]
    found, volumes = (of_reference["kind"] == "found").to_numpy(), of_reference["volume"].to_numpy(dtype=float)
    rows = []
    for low, high in pairwise(VOLUME_BOUNDS):
        inside = (volumes >= low) & (volumes < high)
        number, hits = int(inside.sum()), int(found[inside].sum())
        if not number:
            continue
        interval = stats.binomtest(hits, number).proportion_ci(0.95, "wilson")
        rows.append(
            {
                "from": low,
                "below": None if math.isinf(high) else high,
                "lesions": number,
                "found": hits,
                "sensitivity": hits / number,
                "ci_low": float(interval.low),
                "ci_high": float(interval.high),
            }
        )
    return rows


def volume_words(row: Mapping[str, Any]) -> str:
    """Bounds of a row of :func:`sensitivity_by_volume`."""
    return f"{row['from']:g} or more" if row["below"] is None else f"{row['from']:g} to {row['below']:g}"


def detection_plot(lesions: pd.DataFrame) -> Figure:
    """Sensitivity by lesion volume, one panel a region, with 95 % intervals and numbers of lesions.

    Args:
        lesions: Rows of ``lesions.csv``.
    """
    regions = lesions["region"].unique() if len(lesions) else ["all regions"]
    unit = "mm²" if "mm2" in lesions["volume_unit"].unique() else "mm³"
    figure = Figure(figsize=(4.2 * len(regions), 3.6), layout="constrained")
    for axes, region in zip(figure.subplots(1, len(regions), squeeze=False).flat, regions, strict=True):
        rows = sensitivity_by_volume(lesions[lesions["region"] == region])
        axes.set_title(f"{region}: lesions found", fontsize=9)
        if not rows:
            axes.text(0.5, 0.5, "no lesions in the reference", ha="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
            continue
        positions = np.arange(len(rows))
        middle = np.array([row["sensitivity"] for row in rows])
        below = middle - [row["ci_low"] for row in rows]
        above = np.array([row["ci_high"] for row in rows]) - middle
        # Rounding may put a bound on the wrong side of 0 or 1 by 1e-17.
        axes.bar(positions, middle, yerr=np.maximum([below, above], 0), capsize=3, color="tab:blue", alpha=0.7)
        for position, row in zip(positions, rows, strict=True):
            axes.text(position, 1.04, f"{row['found']}/{row['lesions']}", ha="center", fontsize=7)
        axes.set_xticks(positions, [volume_words(row) for row in rows], rotation=30, ha="right", fontsize=7)
        axes.set(xlabel=f"volume [{unit}]", ylabel="sensitivity", ylim=(0, 1.12))
    return figure
