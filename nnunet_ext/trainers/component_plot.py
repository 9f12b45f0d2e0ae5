"""Plot of the loss components of a training, beside nnU-Net's ``progress.png``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnunet_ext.files.figure import save_figure


def plot_component_losses(curves: Mapping[str, Sequence[float]], file: str) -> None:
    """Write one panel a loss component, unweighted, over the epochs.

    Args:
        curves: Component name -> mean loss of each epoch; nan where it was not computed.
        file: PNG to write.
    """
    # without pyplot, whose global state belongs to nnU-Net's own plot
    figure = Figure(figsize=(8, 2.5 * len(curves)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, values) in zip(panels, curves.items(), strict=True):
        panel.plot(values, linewidth=2, marker="o" if len(values) < 20 else None)
        panel.set_ylabel(name.replace("_", " "))
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel("epoch")
    save_figure(figure, Path(file), dpi=100)
