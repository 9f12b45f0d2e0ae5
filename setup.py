"""Writes the commit and the index's page into packages; everything else about them is in setup.cfg."""

import re
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

CHECKOUT = Path(__file__).parent
FILE = Path("nnunet_ext", "commit.txt")  # nnunet_ext/version.py reads it


def index_page() -> str:
    """The README for a package index, where links to files of the checkout lead nowhere: they become their texts."""
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    without_pictures = re.sub(r"!\[[^\]]*\]\((?!https?://)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", without_pictures)


def write_commit(folder: Path) -> None:
    """Write this checkout's commit into a folder that a package is made of; a source distribution holds it already."""
    if not (CHECKOUT / ".git").exists():
        return
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "--short=12", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return  # git is missing, or refuses the folder
    (folder / FILE).unlink(missing_ok=True)  # setuptools may have linked it to the checkout's
    (folder / FILE).write_text(commit, encoding="utf-8")


class BuildWithCommit(build_py):
    """Copies the package's files, and writes the commit beside them."""

    def run(self) -> None:
        """Build; an editable installation asks the checkout itself."""
        super().run()
        if not self.editable_mode:
            write_commit(Path(self.build_lib))


class SourceWithCommit(sdist):
    """Collects the files of the source distribution, and writes the commit among them."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Collect.

        Args:
            base_dir: Folder of the distribution's files.
            files: Files of the checkout that belong to it.
        """
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir))


setup(
    cmdclass={"build_py": BuildWithCommit, "sdist": SourceWithCommit},
    long_description=index_page(),
    long_description_content_type="text/markdown",
)
