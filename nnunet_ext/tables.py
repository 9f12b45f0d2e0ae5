"""What commands print: tables in which every text stands as it is and in one piece, or the same as JSON."""

import json
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

MIN_BESIDE = 20  # characters beside a heading, however long that is


@dataclass(frozen=True)
class TextTable:
    """A table of plain text: Rich alone takes ``[mm]`` or a name in brackets for markup.

    Where the screen is too narrow for every word to stay in one piece, each row is printed below the one before it, a
    line a cell.

    Attributes:
        headings: One a column.
        rows: Cells, as many as headings in each.
        title: Line above the table.
        caption: Lines below it.
        num_left: Number of columns of words, from the left; the others hold numbers and are aligned to the right.
        sections: Indices of the rows that a line is drawn below.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    caption: str = ""
    num_left: int = 1
    sections: Sequence[int] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A table where it fits, else a block of lines a row."""
        widths = self._widths(options.max_width)
        if widths is not None:
            yield self._table(widths)
        else:
            yield from (Text(line) for line in self._blocks(options.max_width))

    def _widths(self, width: int) -> list[int] | None:
        """Characters of each column in a line, so that no word of a heading or phrase and no number is cut.

        Returns:
            None where there is no room. What room there is beyond the least goes to the columns from the left.
        """
        least, most = [], []
        for column, heading in enumerate(self.headings):
            cells = [row[column] for row in self.rows]
            words = heading.split()
            for cell in cells:
                words += cell.split() if self._wraps(column) else [cell]
            least.append(max(map(cell_len, words), default=0))
            most.append(max(map(cell_len, [heading, *cells])))
        room = width - sum(least) - 3 * len(least) - 1  # lines and blanks
        if room < 0:
            return None
        for column, (few, many) in enumerate(zip(least, most, strict=True)):
            least[column] += min(many - few, room)
            room -= least[column] - few
        return least

    def _wraps(self, column: int) -> bool:
        """Whether cells go on in the next line: words do, but for names of rows in one word, and numbers do not."""
        if column > 0:
            return column < self.num_left
        return any(" " in row[0].strip() for row in self.rows)

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(
            title=Text(self.title) if self.title else None,
            caption=Text(self.caption) if self.caption else None,
            caption_justify="left",
        )
        for column, (heading, width) in enumerate(zip(self.headings, widths, strict=True)):
            justify: Literal["left", "right"] = "left" if column < self.num_left else "right"
            table.add_column(Text(heading), justify=justify, width=width, overflow="fold")
        for index, row in enumerate(self.rows):
            table.add_row(*(Text(cell) for cell in row), end_section=index in self.sections)
        return table

    def _blocks(self, width: int) -> list[str]:
        left = max(map(cell_len, self.headings)) + 2
        lines = [*_wrapped(self.title, width), ""] if self.title else []
        for row in self.rows:
            for heading, cell in zip(self.headings, row, strict=True):
                # what a row is about may have no heading
                first, *others = _wrapped(cell, max(width - left, MIN_BESIDE) if heading else width)
                lines.append(f"{heading.ljust(left)}{first}".rstrip() if heading else first)
                lines += [f"{' ' * left if heading else ''}{line}" for line in others]
            lines.append("")
        return [*lines, *(line for part in self.caption.splitlines() for line in _wrapped(part, width))]


def text_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    caption: str = "",
    num_left: int = 1,
    sections: Sequence[int] = (),
) -> TextTable:
    """A table of plain text, for every command; the arguments are those of :class:`TextTable`."""
    return TextTable(headings, rows, title=title, caption=caption, num_left=num_left, sections=sections)


def print_table(
    table: TextTable, content: Any, as_json: bool, notes: Sequence[str] = (), more: Sequence[TextTable] = ()
) -> None:
    """Print a table and lines below it, or its content as JSON: what ``--json`` of every command does.

    Args:
        table: The table; one without rows is not printed.
        content: What the tables say, numbers as numbers; see :func:`print_json`.
        as_json: Whether JSON is asked for: standard output then holds nothing else, and the notes go to standard error.
        notes: Lines to print afterwards, such as what was written.
        more: Tables below the first.
    """
    if as_json:
        print_json(content)
    else:
        for each in (table, *more):
            if each.rows:
                Console().print(each)
    for note in notes:
        print(note, file=sys.stderr if as_json else sys.stdout)


def print_json(content: Any) -> None:
    """Print content as one JSON document; what is not finite becomes null, and what JSON does not know its text."""
    print(json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False, default=str))


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters; a longer word has a line of its own."""
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
