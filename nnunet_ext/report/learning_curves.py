"""Learning curves of all folds of a model, with the components of the loss."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nnunet_ext.trained.model_folder import Fold

COMPONENT_PREFIX = "loss_"  # as the trainers log the components


def learning_curves(folds: Sequence[Fold]) -> dict[str, Figure]:
    """Figures by title, one colour a fold: total loss, each component, pseudo Dice, learning rate.

    Args:
        folds: Folds of one model; those without a log are left out.
    """
    logged = [fold for fold in folds if fold.curves]
    panels: dict[str, Mapping[str, str]] = {"Loss": {"train_losses": "-", "val_losses": "--"}}
    components = dict.fromkeys(key for fold in logged for key in fold.curves if key.startswith(COMPONENT_PREFIX))
    for key in components:
        panels[f"Loss component: {key.removeprefix(COMPONENT_PREFIX).replace('_', ' ')}"] = {key: "-"}
    panels["Pseudo Dice (moving average)"] = {"ema_fg_dice": "-"}
    panels["Learning rate"] = {"lrs": "-"}
    words = {"train_losses": " training", "val_losses": " validation"}
    figures = {}
    for title, styles in panels.items():
        if not any(fold.curves.get(key) for fold in logged for key in styles):
            continue
        figure = Figure(figsize=(4.8, 3.2), layout="constrained")
        axes = figure.subplots()
        for index, fold in enumerate(logged):
            for key, style in styles.items():
                values = fold.curves.get(key, [])
                marker = "." if len(values) == 1 else None
                label = f"fold {fold.name}{words.get(key, '')}"
                axes.plot(range(1, len(values) + 1), values, style, marker=marker, color=f"C{index}", label=label)
        axes.set(xlabel="epoch")
        axes.set_title(title, fontsize=9)
        axes.legend(fontsize=7)
        figures[title] = figure
    return figures
