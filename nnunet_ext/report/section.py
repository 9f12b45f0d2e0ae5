"""What a section of the report is made of; the template knows these and nothing else."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from nnunet_ext.files.figure import png_of

DPI = 130
OVERLAY_DPI = 100  # many on a page


@dataclass(frozen=True)
class Picture:
    """A figure as a data address, with the words for those who do not see it.

    Args:
        source: Data address.
        description: What it shows.
        anchor: Name that links on the page lead to; empty without one.
        is_wide: Whether it has several panels side by side, and a row of the page to itself.
    """

    source: str
    description: str
    anchor: str = ""
    is_wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than text.

    Args:
        text: What stands in it.
        anchor: Name of the place on the page that it links to; empty without one.
        is_bad: Whether it is marked as a failure.
    """

    text: str
    anchor: str = ""
    is_bad: bool = False


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first column holds row headings.

    Args:
        headings: One a column; none for a table of facts.
        rows: Text or cells.
        caption: Line above it.
        wide: It does not share its line with another.
        long: It scrolls in a window of its own.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    wide: bool = False
    long: bool = False


@dataclass
class Section:
    """Part of the page about one model, or about the models of one data set together; ``legend``: name -> colour."""

    title: str
    anchor: str
    notes: list[str] = field(default_factory=list)
    facts: Table | None = None
    settings: Table | str | None = None
    curves: list[Picture] = field(default_factory=list)
    how: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Picture] = field(default_factory=list)
    diagrams: list[Picture] = field(default_factory=list)
    flagged: Table | None = None
    cases: Table | None = None
    overlays: list[Picture] = field(default_factory=list)
    legend: dict[str, str] = field(default_factory=dict)


def picture(figure: Figure, description: str, anchor: str = "", dpi: int = DPI) -> Picture:
    """A figure as a part of the page."""
    encoded = base64.b64encode(png_of(figure, dpi)).decode()
    return Picture(f"data:image/png;base64,{encoded}", description, anchor)
