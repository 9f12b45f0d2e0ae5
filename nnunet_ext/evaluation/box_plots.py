"""Box plots of every metric over the cases, one box a region (Fig. 3 of Wang et al., BraTS 2020)."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from nnunet_ext.atomic import atomic_path
from nnunet_ext.evaluation.summary import METRICS, heading

NUM_COLUMNS = 3


def box_plots(results: dict[str, pd.DataFrame]) -> Figure:
    """One panel a metric, one group of boxes a region, one colour a result; whiskers to 1.5 times the quartile range.

    Args:
        results: Name -> rows of ``metrics.csv``; at least one.
    """
    rows = pd.concat([frame.assign(result=name) for name, frame in results.items()], ignore_index=True)
    definition = rows["hd95_definition"].iloc[0]
    num_rows = -(-len(METRICS) // NUM_COLUMNS)
    width = 3.2 + 0.25 * rows["region"].nunique() * len(results)
    # Figure without pyplot: no global state, no window, nothing to close
    figure = Figure(figsize=(NUM_COLUMNS * width, num_rows * 3.4), layout="constrained")
    for axes, metric in zip(figure.subplots(num_rows, NUM_COLUMNS).flat, METRICS, strict=True):
        several = len(results) > 1
        sns.boxplot(
            rows,
            x="region",
            y=metric,
            hue="result" if several else "region",
            legend="auto" if several and metric == "dice" else False,
            ax=axes,
            fliersize=3,
        )
        axes.set_title(heading(metric, definition), fontsize=9)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(axis="x", labelrotation=20, labelsize=8)
        if not rows[metric].notna().any():
            axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG that is complete or not there."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
