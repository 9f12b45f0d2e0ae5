"""Figures of ``nnunet_ext subsets``: a heat map of Dice, and what each modality adds."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from nnunet_ext.files.figure import names_as_they_are, save_figure


def draw_heat_map(table: pd.DataFrame, path: Path) -> None:
    """Write a heat map: rows subsets, columns regions and their mean.

    Args:
        table: Mean Dice, 0 to 1.
        path: PNG to write.
    """
    figure = Figure(figsize=(2.5 + 1.1 * len(table.columns), 1.2 + 0.32 * len(table)), layout="constrained")
    with names_as_they_are():  # seaborn draws labels to see whether they overlap
        axes = figure.subplots()
        sns.heatmap(table, vmin=0, vmax=1, annot=True, fmt=".2f", cmap="viridis", ax=axes, cbar_kws={"label": "Dice"})
    axes.set(xlabel="", ylabel="")
    axes.set_xticklabels(table.columns, rotation=20, ha="right")
    axes.set_yticklabels(table.index, rotation=0)
    save_figure(figure, path)


def draw_shapley(shapley: pd.DataFrame, orders: int | None, path: Path) -> None:
    """Write a bar plot of mean Shapley values with their standard deviation over the cases, and a dot a case.

    Args:
        shapley: Rows ``modality``, ``case``, ``region``, ``shapley``.
        orders: Number of random orders that they are estimated from; None where they are exact.
        path: PNG to write.
    """
    regions, modalities = shapley["region"].nunique(), shapley["modality"].nunique()
    figure = Figure(figsize=(2.5 + 0.45 * regions * modalities, 3.6), layout="constrained")
    axes = figure.subplots()
    columns = {"x": "region", "y": "shapley", "hue": "modality"}
    sns.barplot(shapley, **columns, errorbar="sd", ax=axes, alpha=0.7, err_kws={"linewidth": 1})
    sns.stripplot(shapley, **columns, dodge=True, size=2.5, palette=["0.2"] * modalities, legend=False, ax=axes)
    exact = "exact" if orders is None else f"estimated from {orders} random orders"
    axes.set(xlabel="", ylabel="Dice that a modality adds")
    axes.set_title(f"Shapley values ({exact}); bars mean, lines standard deviation, dots cases", fontsize=8)
    axes.set_xticks(range(regions), shapley["region"].unique())
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.legend(title=None, fontsize=7, frameon=False, ncols=min(modalities, 4))
    save_figure(figure, path)
