"""Tables on the screen."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from nnunet_ext.tables import print_table, text_table


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


def lines_of(table, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def test_row_that_has_no_room_is_printed_as_a_block():
    name, path = "a_trainer_whose_name_is_as_long_as_it_takes", "x" * 70
    lines = lines_of(text_table(["trainer", "file"], [[name, f"at {path}"], ["b", ""]], title="T", num_left=2))
    assert lines == ["T", "", f"trainer  {name}", "file     at", f"         {path}", "", "trainer  b", "file", ""]


def test_row_without_a_heading_opens_its_block():
    lines = lines_of(text_table(["", "n"], [["name " + "x" * 40, "1"]], caption="[c]"), width=30)
    assert lines == ["name", "x" * 30, "x" * 10, "n  1", "", "[c]"]


@pytest.mark.parametrize(("width", "as_table"), [(12, True), (11, False)])
def test_table_is_a_table_down_to_its_last_column(width, as_table):
    (first, *_) = lines_of(text_table(["a", "b c"], [["xx", "y zzz"]], num_left=2), width)
    assert first.startswith("┏") == as_table


def test_sections_have_a_line_below(printed):
    lines = printed(text_table(["a"], [["x"], ["y"], ["z"]], sections=[1]))
    assert [line[0] for line in lines] == ["┏", "┃", "┡", "│", "│", "├", "│", "└"]


@pytest.fixture
def table():
    return text_table(["name", "Dice"], [["a", "0.5"]])


def test_json_stands_alone_on_standard_output(capsys, table):
    print_table(table, [{"name": "ä", "dice": 0.5, "hd95": float("nan"), "file": Path("x")}], True, ["Wrote x"])
    output, notes = capsys.readouterr()
    assert json.loads(output) == [{"name": "ä", "dice": 0.5, "hd95": None, "file": "x"}]
    assert notes == "Wrote x\n"


def test_without_json_notes_follow_the_table(capsys, table):
    print_table(table, [], False, ["Wrote x"])
    output, notes = capsys.readouterr()
    assert "│ a    │  0.5 │" in output
    assert output.endswith("\nWrote x\n")
    assert notes == ""


def test_columns_of_words_share_what_the_longest_words_leave(printed):
    rows = [["a long paper, of two lines", f"{'A' * 30}, {'B' * 30}"]]
    lines = lines_of(text_table(["paper", "trainers"], rows, num_left=2), width=50)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [["a long", f"{'A' * 30},"], ["paper, of", "B" * 30], ["two lines", ""]]
    assert max(map(len, lines)) <= 50
