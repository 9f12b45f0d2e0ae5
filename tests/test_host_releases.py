"""Which releases of nnU-Net are tested, and that the range stands in one place."""

import re

import host_releases
import pytest
from host_releases import CHECKOUT, ends, stated_range
from packaging.requirements import Requirement
from packaging.version import Version

RANGE = Requirement("nnunetv2>=2.8.1,<2.9")


@pytest.mark.parametrize(
    ("releases", "expected"),
    [
        (["2.9.0", "2.8.10", "2.8.2", "2.8.1", "2.8.0"], ["2.8.1", "2.8.10"]),
        (["2.8.1", "2.8.0"], ["2.8.1"]),
        (["2.9.0rc1", "2.9.0", "2.8.0"], []),
    ],
)
def test_lowest_and_newest_release_in_the_range(releases, expected):
    assert ends(RANGE, releases) == expected


@pytest.fixture
def ran(monkeypatch):
    """Releases that an environment was made for; there are no tests to run in it."""
    made = []
    monkeypatch.setattr(host_releases, "environment_with", lambda release: made.append(release) or "false")
    monkeypatch.setattr(host_releases, "version", lambda name: "2.8.1")
    return made


def test_the_installed_release_takes_no_time(ran, monkeypatch, capsys):
    monkeypatch.setattr(host_releases, "released", lambda: ["2.8.1", "2.8.0"])
    assert host_releases.main([]) == 0
    assert ran == []
    assert "2.8.1 is the installed one" in capsys.readouterr().out


def test_another_release_is_tested_and_its_failure_is_one(ran, monkeypatch):
    monkeypatch.setattr(host_releases, "released", lambda: ["2.8.2", "2.8.1"])
    assert host_releases.main([]) == 1
    assert host_releases.main(["2.9.0"]) == 1
    assert ran == ["2.8.2", "2.9.0"]


def test_without_registry_it_says_what_is_tested(ran, monkeypatch, capsys):
    monkeypatch.setattr(host_releases, "released", list)
    assert host_releases.main([]) == 0
    assert "only the installed 2.8.1" in capsys.readouterr().out


def test_range_ends_before_a_minor_version():
    lowest, upper = (next(s.version for s in stated_range().specifier if s.operator == op) for op in (">=", "<"))
    assert Version(lowest) < Version(upper)
    assert re.fullmatch(r"\d+\.\d+", upper)


def test_range_stands_in_setup_cfg_alone_and_the_readme_shows_it():
    text = next(line.strip() for line in (CHECKOUT / "setup.cfg").read_text().splitlines() if "nnunetv2>" in line)
    assert f"`{text}`" in (CHECKOUT / "README.md").read_text()
    sources = [file.read_text() for file in (CHECKOUT / "nnunet_ext").rglob("*.py")]
    assert not any(re.search(r"nnunetv2[<>=]{1,2}\d", source) for source in sources)
