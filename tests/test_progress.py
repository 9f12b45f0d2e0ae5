"""Progress bars: what they show, and that logs stay without them."""

import io

import pytest
from rich.console import Console

from nnunet_ext import progress


@pytest.fixture
def screen(monkeypatch):
    """What a terminal of 80 columns has been sent."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda **options: console)
    return stream


def test_bar_shows_count_and_case_as_they_are(screen):
    seen = []
    for case in progress.track(["[red]a", "b"], "Scoring", name=lambda item: f"case {item}"):
        seen.append(case)
    assert seen == ["[red]a", "b"]
    assert "Scoring" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert "case b" in screen.getvalue()


def test_long_names_keep_their_end(screen):
    list(progress.track(["x" * 100 + "_end"], "Scoring", name=str))
    assert f" …{'x' * 25}_end" in screen.getvalue()


def test_steps_count_what_is_done_not_what_is_begun(screen):
    with progress.steps("Counting", 2) as begin:
        begin("2d")
        begin("3d_fullres")
    assert "1/2" in screen.getvalue()
    assert "2/2" not in screen.getvalue()
    assert "3d_fullres" in screen.getvalue()


def test_logs_get_nothing(capsys):
    assert list(progress.track(iter([1]), "Scoring", total=1, name=str)) == [1]
    with progress.steps("Planning") as begin:
        begin("2d")
    assert capsys.readouterr() == ("", "")
