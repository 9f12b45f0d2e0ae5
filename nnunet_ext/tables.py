"""What commands print: tables in which every text stands as it is and in one piece, or the same as JSON."""

import json
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        if self._narrowest() <= options.max_width:
            yield self._table()
        else:
            yield from (Text(line) for line in self._blocks(options.max_width))

    @property
    def _first_wraps(self) -> bool:
        """Whether rows are named by phrases, which wrap for the numbers beside them; single words stay in one piece."""
        return self.num_left == 1 and any(" " in row[0].strip() for row in self.rows)

    def _wraps(self, column: int) -> bool:
        return self._first_wraps if column == 0 else column < self.num_left or not self._first_wraps

    def _heading(self, column: int) -> str:
        """A heading, in lines no wider than the column's numbers where these stand beside phrases."""
        if column == 0 or self._wraps(column):
            return self.headings[column]
        words = [*self.headings[column].split(), *(row[column] for row in self.rows)]
        return "\n".join(_wrapped(self.headings[column], max(map(cell_len, words), default=0)))

    def _narrowest(self) -> int:
        """Characters a line takes at least: words stay whole; three a column and one are lines and blanks."""
        widths = []
        for column, heading in enumerate(self.headings):
            texts = [heading, *(row[column] for row in self.rows)]
            parts = [
                part
                for index, text in enumerate(texts)
                for part in (text.split() if self._wraps(column) or index == 0 else text.splitlines())
            ]
            if column == 0 and not self._first_wraps:
                parts.append(heading)
            widths.append(max(map(cell_len, parts), default=0))
        return sum(widths) + 3 * len(widths) + 1

    def _table(self) -> Table:
        table = Table(
            title=Text(self.title) if self.title else None,
            caption=Text(self.caption) if self.caption else None,
            caption_justify="left",
        )
        for column in range(len(self.headings)):
            table.add_column(
                Text(self._heading(column)),
                justify="left" if column < self.num_left else "right",
                no_wrap=not self._wraps(column),
                overflow="fold",
            )
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
