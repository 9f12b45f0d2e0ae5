"""Figures as images, in which names are drawn as they are spelt."""

from io import BytesIO
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from nnunet_ext.files.atomic import atomic_path


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure as an image that is complete or not there; matplotlib knows the format by the ending.

    Raises:
        InputError: It cannot be written; the message says why.
    """
    with atomic_path(path) as temporary:
        _save(figure, temporary, dpi=dpi)


def png_of(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = BytesIO()
    _save(figure, buffer, dpi=dpi, format="png")
    return buffer.getvalue()


def names_as_they_are() -> Any:
    """Context in which matplotlib takes no text for a formula: names of regions, channels and cases may hold ``$``.

    :func:`save_figure` and :func:`png_of` draw so; axes that are drawn on before must be made in it, too. Axes with
    formulas as labels, such as those that matplotlib gives logarithmic axes, must be labelled otherwise.
    """
    return rc_context({"text.parse_math": False})


def _save(figure: Figure, target: Path | BytesIO, **options: Any) -> None:
    with names_as_they_are(), catch_warnings():
        # letters that the font lacks are drawn as boxes, which the picture says itself
        filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        figure.savefig(target, **options)
