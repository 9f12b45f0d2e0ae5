"""Tables on the screen."""

import pytest
from rich.console import Console

from nnunet_ext.tables import text_table


@pytest.fixture
def printed():
    """What a table looks like on a wide screen, line by line."""

    def lines(table):
        console = Console(width=120)
        with console.capture() as capture:
            console.print(table)
        return capture.get().splitlines()

    return lines


def test_nothing_is_taken_for_markup(printed):
    lines = printed(text_table(["a", "HD95 [mm]"], [["lesion [red]", ":heart:"]], title="[bold]T", caption="[/x] c"))
    page = "\n".join(lines)
    for text in ("HD95 [mm]", "lesion [red]", ":heart:", "[bold]T", "[/x] c"):
        assert text in page


def test_words_are_left_and_numbers_right(printed):
    lines = printed(text_table(["region", "kind", "value"], [["a", "b", "1"]], num_left=2))
    row = next(line for line in lines if "│ a" in line)
    assert [cell for cell in row.split("│") if cell] == [" a      ", " b    ", "     1 "]
