"""Box plots of every metric over the cases, one box a region (Fig. 3 of Wang et al., BraTS 2020)."""

from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from nnunet_ext.evaluation.summary import heading, measured, metrics_of

NUM_COLUMNS = 3


def box_plots(results: Mapping[str, pd.DataFrame], metrics: Sequence[str] | None = None) -> Figure:
    """One panel a metric, one group of boxes a region, one colour a result; whiskers to 1.5 times the quartile range.

    Args:
        results: Name -> rows of ``metrics.csv``; at least one.
        metrics: Columns to show; None shows all that there are.
    """
    rows = pd.concat([frame.assign(result=name) for name, frame in results.items()], ignore_index=True)
    metrics = metrics or metrics_of(rows)
    how = measured(rows)
    num_columns = min(NUM_COLUMNS, len(metrics))
    num_rows = -(-len(metrics) // num_columns)
    width = 3.2 + 0.25 * rows["region"].nunique() * len(results)
    several = len(results) > 1
    # Figure without pyplot: no global state, no window, nothing to close
    figure = Figure(figsize=(num_columns * width, num_rows * (3.4 + 0.2 * several)), layout="constrained")
    for axes, metric in zip(figure.subplots(num_rows, num_columns, squeeze=False).flat, metrics, strict=False):
        axes.set_title(heading(metric, how), fontsize=9)
        if not rows[metric].notna().any():
            axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
            continue
        with_legend = several and metric == metrics[0]
        sns.boxplot(
            rows,
            x="region",
            y=metric,
            hue="result" if several else "region",
            legend="auto" if with_legend else False,
            ax=axes,
            fliersize=3,
        )
        if with_legend:
            sns.move_legend(axes, "lower center", bbox_to_anchor=(0.5, 1.1), title=None, fontsize=7, frameon=False)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(axis="x", labelrotation=20, labelsize=8)
    return figure
