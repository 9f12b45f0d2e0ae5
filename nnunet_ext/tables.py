"""Tables on the screen that show every text as it is."""

import textwrap
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
    phrases = num_left == 1 and any(" " in row[0] for row in rows)
    for index, heading in enumerate(headings):
        if phrases and index > 0:
            # phrases wrap for the numbers beside them, which Rich would cut otherwise
            width = max(len(text) for text in [*heading.split(), *(row[index] for row in rows)])
            lines = textwrap.wrap(heading, width, break_long_words=False, break_on_hyphens=False)
            table.add_column(Text("\n".join(lines)), justify="right", no_wrap=True)
        else:
            # else what a row is about stays in one piece, so that it can be copied
            table.add_column(
                Text(heading),
                justify="left" if index < num_left else "right",
                no_wrap=index == 0 and not phrases,
                overflow="fold",
            )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
