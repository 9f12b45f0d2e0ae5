"""Figures as image files."""

from pathlib import Path

from matplotlib.figure import Figure

from nnunet_ext.files.atomic import atomic_path


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure as an image that is complete or not there; matplotlib knows the format by the ending.

    Raises:
        InputError: It cannot be written; the message says why.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
