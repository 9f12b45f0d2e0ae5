"""Mean and standard deviation over repeated trainings, as Table 1 of Li et al. (MICCAI 2019) prints them."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunet_ext.evaluation.comparison import BOOTSTRAP_SEED, NUM_BOOTSTRAP_SAMPLES
from nnunet_ext.evaluation.summary import metrics_of


def over_runs(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean and standard deviation over runs of each run's mean over its cases.

    Args:
        runs: Rows of ``metrics.csv`` of each run, of the same cases and regions, scored in the same way.

    Returns:
        One row a region and metric: ``n`` (runs that have a value), ``mean``, and ``std``, that of a sample (n - 1; not
        stated in the paper: our choice, as for cases), which is NaN for one run.
    """
    metrics = metrics_of(runs[0])
    means = pd.concat([run.groupby("region", sort=False)[metrics].mean() for run in runs])
    rows = [
        {"region": region, "metric": metric, "n": int(of_runs[metric].count()), "mean": of_runs[metric].mean(),
         "std": of_runs[metric].std(ddof=1)}
        for region, of_runs in means.groupby(level="region", sort=False)
        for metric in metrics
    ]  # fmt: skip
    return pd.DataFrame(rows)


def interval_over_runs(values: np.ndarray, minus: np.ndarray | None = None) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over runs and cases, or of a difference of two of them.

    Each sample draws cases and, apart from them, runs anew (percentile method, 9999 samples), so that one training in
    three that has failed widens the interval, which one over the cases' means does not show. Our choice.

    Args:
        values: A value a run and case, ``(runs, cases)``, NaN where there is none.
        minus: The same of what is subtracted, of the same cases in the same order; other runs.

    Returns:
        Ends of the interval; NaN for fewer than two cases.
    """
    if values.shape[1] < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    cases = rng.integers(values.shape[1], size=(NUM_BOOTSTRAP_SAMPLES, 1, values.shape[1]))

    def means(of_runs: np.ndarray) -> np.ndarray:
        runs = rng.integers(len(of_runs), size=(NUM_BOOTSTRAP_SAMPLES, len(of_runs), 1))
        drawn = of_runs[runs, cases]
        number = np.isfinite(drawn).sum((1, 2))
        return np.divide(np.nansum(drawn, (1, 2)), number, out=np.full(len(drawn), math.nan), where=number > 0)

    samples = means(values) - (0.0 if minus is None else means(minus))
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return math.nan, math.nan
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)
