"""The demo's page, in a browser where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from nnunet_ext.demo.page import Picture, write_page
from nnunet_ext.files.figure import save_figure
from nnunet_ext.tables import text_table

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
RED = (1.0, 0.0, 0.0)


@pytest.fixture
def page(tmp_path):
    """A page with a red picture whose name must be quoted, and a report below it."""
    picture = tmp_path / "fold 0" / "red#1.png"
    picture.parent.mkdir()
    save_figure(Figure(figsize=(4, 4), facecolor=RED), picture)
    report = tmp_path / "report.html"
    report.write_text("<title>The report</title>")
    table = text_table(["System", "<core>"], [["Plain nnU-Net", "0.912"]], title="Mean Dice", caption="nan: none")
    pictures = [Picture("Predictions", "What is seen.", picture)]
    write_page(tmp_path / "index.html", "Demo", "What was done.", table, pictures, report)
    return tmp_path / "index.html"


def test_page_holds_scores_pictures_and_the_way_to_the_report(page):
    text = page.read_text()
    for part in ("<h2>Mean Dice</h2>", "&lt;core&gt;", "0.912", 'src="fold%200/red%231.png"', 'href="report.html"'):
        assert part in text


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_browser_shows_the_page_with_its_picture(page, tmp_path):
    dom = browse(page, "--dump-dom")
    assert "0.912" in dom
    browse(page, f"--screenshot={tmp_path / 'shown.png'}", "--window-size=800,1200", "--hide-scrollbars")
    shown = imread(tmp_path / "shown.png")[..., :3]
    assert (shown == RED).all(axis=-1).mean() > 0.1


def browse(page: Path, *options: str) -> str:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
