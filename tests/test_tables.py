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
    lines = printed(text_table(["a", "HD95 [mm]"], [["[red]lesion", ":heart:"]], title="[bold]T", caption="[/x] c"))
    page = "\n".join(lines)
    for text in ("HD95 [mm]", "[red]lesion", ":heart:", "[bold]T", "[/x] c"):
        assert text in page


def test_words_are_left_and_numbers_right(printed):
    lines = printed(text_table(["region", "kind", "value"], [["a", "b", "1"]], num_left=2))
    row = next(line for line in lines if "│ a" in line)
    assert [cell for cell in row.split("│") if cell] == [" a      ", " b    ", "     1 "]


def test_neither_numbers_nor_names_are_cut_on_a_narrow_screen():
    metric = "Surface Dice by border voxels of matched lesions, brats2025"
    regions = ["whole tumor", "tumor core", "enhancing tumor"]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(text_table(["", *regions], [[metric, "0.912", "294.433", "7.8e-04"]]))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in capture.get()
    cells = [[cell.strip() for cell in line.split("┃")[1:-1]] for line in lines if line.startswith("┃")]
    assert [" ".join(parts).strip() for parts in zip(*cells, strict=True)] == ["", *regions]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert [" ".join(parts).strip() for parts in zip(*rows, strict=True)] == [metric, "0.912", "294.433", "7.8e-04"]
