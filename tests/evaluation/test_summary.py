"""Aggregates and their tables."""

import pandas as pd
import pytest
from label_cases import tumour

from nnunet_ext.evaluation.case import evaluate_masks
from nnunet_ext.evaluation.comparison import compare
from nnunet_ext.evaluation.markdown import format_number, summary_as_markdown
from nnunet_ext.evaluation.summary import summarise


def metrics(dice, empty=None):
    """Rows of one region with the given Dice coefficients."""
    full = tumour() > 0
    row = evaluate_masks(full, full, (1, 1, 1), full.size, "nan", "directed")
    rows = [
        {
            "case": f"c{i}",
            "region": "tumour",
            "labels": "1 2",
            **row,
            "dice": value,
            "empty": (empty or {}).get(i, "neither"),
        }
        for i, value in enumerate(dice)
    ]
    return pd.DataFrame(rows)


def test_statistics_are_those_of_the_papers_tables():
    region = summarise(metrics([0.5, 0.6, 0.9, 1.0]))["regions"]["tumour"]
    statistics = region["metrics"]["dice"]
    assert statistics["mean"] == pytest.approx(0.75)
    assert statistics["std"] == pytest.approx(0.2380476)
    assert (statistics["median"], statistics["q25"], statistics["q75"]) == pytest.approx((0.75, 0.575, 0.925))
    assert (statistics["n"], region["labels"]) == (4, [1, 2])


def test_cases_without_a_value_are_left_out():
    statistics = summarise(metrics([0.5, float("nan"), 0.7]))["regions"]["tumour"]["metrics"]["dice"]
    assert statistics["mean"] == pytest.approx(0.6)
    assert statistics["n"] == 2


def test_statistics_of_no_values_are_none():
    statistics = summarise(metrics([float("nan")]))["regions"]["tumour"]["metrics"]["dice"]
    assert statistics == {"mean": None, "std": None, "median": None, "q25": None, "q75": None, "n": 0}


def test_cases_with_one_side_empty_are_counted():
    empty = {0: "reference", 1: "prediction", 2: "prediction", 3: "both"}
    region = summarise(metrics([0, 0, 0, 1, 1], empty))["regions"]["tumour"]
    assert [region[f"{kind}_cases"] for kind in ("false_positive", "false_negative", "both_empty")] == [1, 2, 1]


def test_markdown_names_convention_and_definition():
    page = summary_as_markdown(summarise(metrics([0.5, 1.0])))
    assert "Convention for empty masks: `nan`" in page
    assert "## HD95 [mm], directed" in page
    assert "| tumour | 0.750 | 0.354 | 0.750 | 0.625 | 0.875 | 2 |" in page


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("<script>a & b</script>", "&lt;script&gt;a &amp; b&lt;/script&gt;"),
        ("![x](http://a)", "![x\\](http://a)"),
        ("a|b*c*`d`", "a\\|b\\*c\\*\\`d\\`"),
        ("tumor_core [1]", "tumor_core [1]"),
        ("two\n# lines", "two # lines"),
    ],
)
def test_names_are_plain_text_on_the_page(name, cell):
    scores = metrics([0.5, 1.0]).assign(region=name)
    page = summary_as_markdown(summarise(scores), compare(scores, scores), name)
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    assert f"| {cell}" in rows
    assert f"## Difference to {cell}" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("value", "text"), [(None, "n/a"), (7, "7"), (0.0, "0.000"), (32.2511, "32.251"), (2e-5, "2.0e-05")]
)
def test_numbers_are_printed_as_in_the_papers(value, text):
    assert format_number(value) == text
