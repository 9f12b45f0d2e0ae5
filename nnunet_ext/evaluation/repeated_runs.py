"""Mean and standard deviation over repeated trainings, as Table 1 of Li et al. (MICCAI 2019) prints them."""

from collections.abc import Sequence

import pandas as pd

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
