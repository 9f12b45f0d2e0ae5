"""Paired differences between two results on the same cases."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.summary import metrics_of

NUM_BOOTSTRAP_SAMPLES = 9999
BOOTSTRAP_SEED = 0  # the same files give the same interval


def compare(metrics: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Differences ``metrics - other`` of each region and metric, over the cases where both have a value.

    Args:
        metrics: Rows of ``metrics.csv`` of the result.
        other: The same for the other result, scored with the same convention and definition of HD95.

    Returns:
        One row a region and metric that both results hold: ``n``, ``mean_difference``, ``ci_low`` and ``ci_high`` (95 %
        bootstrap interval of the mean), ``wilcoxon_p`` (two-sided signed-rank test). Where the number of cases does not
        allow them (interval: fewer than 2), they are NaN; differences that are all 0 have p = 1.

    Raises:
        InputError: The two results do not hold the same cases and regions, or were not scored in the same way.
    """
    if len(ways := {_measured_how(frame) for frame in (metrics, other)}) > 1:
        raise InputError(f"Results scored in different ways cannot be compared: {' and '.join(sorted(ways))}.")
    keys = ["case", "region"]
    paired = metrics.merge(other, on=keys, suffixes=("", "_other"), how="outer", indicator=True)
    unpaired = paired.loc[paired["_merge"] != "both", "case"]
    if len(unpaired):
        raise InputError(f"Only one of the two results holds: {', '.join(sorted(set(unpaired)))}.")
    shared = [metric for metric in metrics_of(metrics) if metric in other]
    rows = []
    for region in metrics["region"].unique():
        of_region = paired[paired["region"] == region]
        for metric in shared:
            differences = (of_region[metric] - of_region[f"{metric}_other"]).dropna().to_numpy()
            rows.append({"region": region, "metric": metric, **_paired_statistics(differences)})
    how = {column: metrics[column].iloc[0] for column in ("convention", "hd95_definition")}
    return pd.DataFrame(rows).assign(**how)


def _measured_how(metrics: pd.DataFrame) -> str:
    return f"{metrics['convention'].iloc[0]} with {metrics['hd95_definition'].iloc[0]} HD95"


def _paired_statistics(differences: np.ndarray) -> dict[str, float | int]:
    n = len(differences)
    low, high = _bootstrap_interval(differences)
    return {
        "n": n,
        "mean_difference": float(differences.mean()) if n else math.nan,
        "ci_low": low,
        "ci_high": high,
        "wilcoxon_p": _wilcoxon_p(differences),
    }


def _bootstrap_interval(differences: np.ndarray) -> tuple[float, float]:
    if len(differences) < 2:
        return math.nan, math.nan
    interval = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=NUM_BOOTSTRAP_SAMPLES,
        batch=1000,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _wilcoxon_p(differences: np.ndarray) -> float:
    if not len(differences):
        return math.nan
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)
