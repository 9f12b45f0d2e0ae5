"""Dice is read as nnU-Net wrote it."""

import io
import json
import math

import pytest
from rich.console import Console

from nnunet_ext.demo.scores import dice_per_case, dice_table

REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}}
LABELS = {"labels": {"background": 0, "lesion": 1, "cyst": [2]}}


def summary(path, *cases):
    """A summary.json with Dice per key of each case."""
    metrics = [{"metrics": {key: {"Dice": dice} for key, dice in case.items()}} for case in cases]
    path.write_text(json.dumps({"metric_per_case": metrics}))
    return path


def test_regions_are_found_by_their_labels(tmp_path):
    path = summary(tmp_path / "a.json", {"(1, 2)": 0.8, "(2,)": math.nan}, {"(1, 2)": 0.6, "(2,)": 0.5})
    scores = dice_per_case(path, REGIONS)
    assert scores["whole"] == [0.8, 0.6]
    assert math.isnan(scores["core"][0])
    assert list(scores) == ["whole", "core"]


def test_plain_labels_are_found_by_number(tmp_path):
    path = summary(tmp_path / "a.json", {"1": 0.25, "2": 0.75})
    assert dice_per_case(path, LABELS) == {"lesion": [0.25], "cyst": [0.75]}


@pytest.mark.parametrize(
    ("dice", "shown"), [([0.5, math.nan], "0.500 (1 nan)"), ([math.nan] * 2, "nan (2 nan)"), ([1, 0], "0.500")]
)
def test_mean_leaves_out_nan_and_counts_it(tmp_path, dice, shown):
    path = summary(tmp_path / "a.json", *[{"1": value, "2": 0.9} for value in dice])
    console = Console(width=120, file=io.StringIO())
    console.print(dice_table({"Pairing": path, "Plain": path}, LABELS))
    row = next(line for line in console.file.getvalue().splitlines() if "Pairing" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["Pairing", shown, "0.900"]
