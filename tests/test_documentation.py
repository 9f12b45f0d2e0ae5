"""The site names every page and trainer, and no page points out of the site."""

import re
from pathlib import Path

from documentation import CHECKOUT, METHOD_PAGES, default_of, settings_rows, without_links_outside

from nnunet_ext.trainers import TRAINERS, ModalityPairingTrainer

SITE = (CHECKOUT / "mkdocs.yml").read_text()
MADE = {"index.md", "contributing.md", "changelog.md", "trainers/index.md"}


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r"[\w/]+\.md", SITE))
    written = {str(path.relative_to(CHECKOUT / "docs")) for path in Path(CHECKOUT / "docs").rglob("*.md")}
    trainers = {f"trainers/{trainer.__name__}.md" for trainer in TRAINERS}
    assert named == written | trainers | MADE


def test_every_trainer_has_the_page_of_its_method():
    for trainer in TRAINERS:
        assert (CHECKOUT / "docs" / METHOD_PAGES[trainer.__module__.rsplit(".", 1)[-1]]).is_file()


def test_links_to_files_that_are_no_pages_become_their_names():
    page = "[rows](../benchmarks/results/a.json), [scores](evaluation.md#x), [code](../../nnunet_ext/a.py)"
    expected = "rows (`benchmarks/results/a.json`), [scores](evaluation.md#x), code (`nnunet_ext/a.py`)"
    assert without_links_outside(page) == expected


def test_settings_are_shown_with_their_defaults():
    rows = settings_rows(ModalityPairingTrainer.settings_class)
    settings = ModalityPairingTrainer.settings_class()
    assert rows == [f"| `{name}` | `{value}` |" for name, value in vars(settings).items()]
    assert "| `pairing_weight` | `0.5` |" in rows
    assert default_of(ModalityPairingTrainer.settings_class.__dataclass_fields__["num_epochs"]) == 1000
