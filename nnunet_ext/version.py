"""Version and commit of this package, for ``--version``, plans, checkpoints and training logs."""

import subprocess
from functools import cache
from pathlib import Path

from nnunet_ext import __version__

PACKAGE = Path(__file__).resolve().parent
COMMIT_FILE = "commit.txt"  # setup.py writes it into wheels and source distributions


@cache
def commit() -> str | None:
    """Commit that the package is of: the checkout's, where it runs from one, else that of its build.

    Returns:
        Twelve digits, with ``+changes`` behind them where the package's files differ from the commit; None where nobody
        knows, for example in a copied folder.
    """
    if (PACKAGE.parent / ".git").exists():
        return _commit_of_checkout()
    file = PACKAGE / COMMIT_FILE
    return file.read_text(encoding="utf-8").strip() or None if file.is_file() else None


def version_text() -> str:
    """``"0.1.0, commit 0123456789ab"``."""
    return f"{__version__}, commit {commit() or 'unknown'}"


def _commit_of_checkout() -> str | None:
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        return None
    return f"{found}+changes" if _git("status", "--porcelain", "--", str(PACKAGE)) else found


def _git(*arguments: str) -> str:
    """What git answers; empty where it is not installed or refuses the folder."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
