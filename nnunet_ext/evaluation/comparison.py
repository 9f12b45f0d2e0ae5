"""Paired differences between two results on the same cases."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.summary import measured, metrics_of

NUM_BOOTSTRAP_SAMPLES = 9999
# Words for what else may differ between two results, see nnunet_ext.evaluation.summary.measured
WAYS = {
    "nsd_tolerance": "surface Dice within",
    "lesions": "lesion-wise scores of",
    "lesion_match": "lesions matched from",
}
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
    ways = [measured(frame) for frame in (metrics, other)]
    common = [key for key in ways[0] if key in ways[1]]
    if any(ways[0][key] != ways[1][key] for key in common):
        words = " and ".join(sorted(_in_words({key: way[key] for key in common}) for way in ways))
        raise InputError(f"Results scored in different ways cannot be compared: {words}.")
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
    return pd.DataFrame(rows).assign(**{key: ways[0][key] for key in common})


def _in_words(how: dict[str, str]) -> str:
    words = [f"{how['convention']} with {how['hd95_definition']} HD95"]
    words += [f"{name} {how[key]}" for key, name in WAYS.items() if key in how]
    return ", ".join(words)


def _paired_statistics(differences: np.ndarray) -> dict[str, float | int]:
    n = len(differences)
    low, high = bootstrap_interval(differences)
    return {
        "n": n,
        "mean_difference": float(differences.mean()) if n else math.nan,
        "ci_low": low,
        "ci_high": high,
        "wilcoxon_p": _wilcoxon_p(differences),
    }


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of a mean (percentile method, 9999 samples); NaN for fewer than two values.

    Args:
        values: A value a case, ``(cases,)``: a difference or a score.
    """
    if len(values) < 2:
        return math.nan, math.nan
    interval = stats.bootstrap(
        (values,),
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
