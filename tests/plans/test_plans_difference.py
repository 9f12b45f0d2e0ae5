"""What differs between plans is named with both values."""

import pytest

from nnunet_ext.plans.plans_difference import listed, plans_difference


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, []),
        ({"a": {"b": 2}}, {"a": {"b": 13}}, ["a.b (2 there, 13 here)"]),
        ({"a": 1}, {}, ["a (1 there, nothing here)"]),
        ({}, {"a": {"b": 1}}, ["a (nothing there, {'b': 1} here)"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a ([1, 2] there, [2, 1] here)"]),
        ({"a": True}, {"a": 1}, ["a (True there, 1 here)"]),
        ({"a": None}, {}, ["a (None there, nothing here)"]),
    ],
)
def test_differences(there, here, expected):
    assert plans_difference(there, here) == expected


def test_long_values_and_lists_are_cut():
    (difference,) = plans_difference({"a": "x" * 500}, {"a": ""})
    assert len(difference) < 100
    assert listed(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert listed(["a", "b"], most=2) == "a, b"
