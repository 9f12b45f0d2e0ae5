"""Tables on the screen that show every text as it is."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text


def text_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", caption: str = "", num_left: int = 1
) -> Table:
    """A Rich table of plain text, for every command: Rich alone takes ``[mm]`` or a name in brackets for markup.

    Args:
        headings: One a column.
        rows: Cells, as many as headings in each.
        title: Line above the table.
        caption: Lines below it.
        num_left: Number of columns of words, from the left; the others hold numbers and are aligned to the right.
    """
    table = Table(
        title=Text(title) if title else None,
        caption=Text(caption) if caption else None,
        caption_justify="left",
    )
    for index, heading in enumerate(headings):
        # what a row is about stays in one piece, so that it can be copied
        table.add_column(Text(heading), justify="left" if index < num_left else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
