"""The demo's page: scores, predictions, attention maps, reconstruction, and the way to the report."""

from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from nnunet_ext.files.atomic import write_text_atomically
from nnunet_ext.tables import TextTable


class Picture(NamedTuple):
    """A picture of the page.

    Attributes:
        heading: What it is.
        sentence: What is to be seen.
        file: PNG in or below the page's folder.
    """

    heading: str
    sentence: str
    file: Path


def write_page(page: Path, title: str, words: str, table: TextTable, pictures: Sequence[Picture], report: Path) -> None:
    """Write the page as HTML that needs nothing but the files beside it.

    Args:
        page: HTML file to write.
        title: Heading of the page.
        words: What was done.
        table: Scores.
        pictures: Pictures in order.
        report: HTML file of the report.
    """
    environment = Environment(loader=PackageLoader("nnunet_ext.demo"), autoescape=True, trim_blocks=True)

    def link(file: Path) -> str:
        return quote(relpath(file, page.parent))

    text = environment.get_template("page.html").render(
        title=title,
        words=words,
        table=table,
        pictures=[(picture.heading, picture.sentence, link(picture.file)) for picture in pictures],
        report=link(report),
    )
    write_text_atomically(page, text)
