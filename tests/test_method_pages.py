"""The methods' pages name what is there: files, and every setting of their trainers."""

import dataclasses
import re

import pytest
from workspace import CHECKOUT

from nnunet_ext.trainers import TRAINERS, ModalityDropoutTrainer

PAGES = {path.stem: path.read_text() for path in sorted((CHECKOUT / "docs" / "methods").glob("*.md"))}


def spelt_out(pattern):
    """``a_{b,c}`` as ``a_b`` and ``a_c``."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if not braces:
        return [pattern]
    before, behind = pattern[: braces.start()], pattern[braces.end() :]
    return [path for choice in braces[1].split(",") for path in spelt_out(before + choice + behind)]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:nnunet_ext|tests|benchmarks)/[^` ]*)`", PAGES[page])
    assert named
    assert [path for text in named for path in spelt_out(text) if not list(CHECKOUT.glob(path))] == []


@pytest.mark.parametrize("trainer", [trainer for trainer in TRAINERS if trainer is not ModalityDropoutTrainer])
def test_page_names_every_setting_of_its_trainers(trainer):
    (page,) = (text for text in PAGES.values() if f"`{trainer.__name__}`" in text)
    settings = {field.name for field in dataclasses.fields(trainer.settings_class)}
    assert {name for name in settings if f"`{name}`" not in page} == set()
