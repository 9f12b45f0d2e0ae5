"""Box plots of every metric over the cases, one box a region (Fig. 3 of Wang et al., BraTS 2020)."""

import textwrap
from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ext.evaluation.summary import heading, measured, metrics_of

NUM_COLUMNS = 3
LETTERS_AN_INCH = 13  # of a title
WHISKERS_OF_PANEL = 3


def box_plots(results: Mapping[str, pd.DataFrame], metrics: Sequence[str] | None = None) -> Figure:
    """One panel a metric, one group of boxes a region, one colour a result; whiskers to 1.5 times the quartile range.

    A panel is as high as its whiskers where outliers would make them less than a third of it; how many are above or
    below is then written at its edge, with the furthest value.

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
    for position, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(num_rows, num_columns, position)
        axes.set_title(textwrap.fill(heading(metric, how), int(LETTERS_AN_INCH * width)), fontsize=9)
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
        _cut_to_whiskers(axes, rows, metric)
        axes.tick_params(axis="x", labelrotation=20, labelsize=8)
    return figure


def _cut_to_whiskers(axes: Axes, rows: pd.DataFrame, metric: str) -> None:
    limits = whisker_limits(rows, metric)
    if limits is None:
        return
    low, high = limits
    margin = 0.08 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    for position, region in enumerate(rows["region"].unique()):
        values = rows.loc[rows["region"] == region, metric].dropna()
        for outside, furthest, edge, arrow in (
            (values[values > high + margin], "max", "top", "\u2191"),
            (values[values < low - margin], "min", "bottom", "\u2193"),
        ):
            if len(outside):
                text = f"{arrow}{len(outside)}: {getattr(outside, furthest)():.3g}"
                height = 0.99 if edge == "top" else 0.01
                transform = axes.get_xaxis_transform()
                axes.text(position, height, text, transform=transform, ha="center", va=edge, fontsize=7)


def whisker_limits(rows: pd.DataFrame, metric: str) -> tuple[float, float] | None:
    """Ends of the boxes and whiskers of a panel; None where outliers leave them a third of its height or more.

    Args:
        rows: Rows of ``metrics.csv`` with a column ``result``.
        metric: Column.
    """
    ends = []
    for _, values in rows.groupby(["result", "region"])[metric]:
        present = values.dropna()
        if len(present):
            first, third = present.quantile(0.25), present.quantile(0.75)
            inside = present[present.between(first - 1.5 * (third - first), third + 1.5 * (third - first))]
            ends += [first, inside.min(), third, inside.max()]
    low, high = min(ends), max(ends)
    everything = rows[metric].max() - rows[metric].min()
    return (float(low), float(high)) if 0 < high - low < everything / WHISKERS_OF_PANEL else None
