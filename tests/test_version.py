"""Version and commit of the package."""

import subprocess

import pytest

from nnunet_ext import __version__, version


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's place, without a checkout around it."""
    folder = tmp_path / "nnunet_ext"
    folder.mkdir()
    monkeypatch.setattr(version, "PACKAGE", folder)
    version.commit.cache_clear()
    yield folder
    version.commit.cache_clear()


def git(folder, *arguments):
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.check_output(["git", "-C", folder, *identity, *arguments], text=True).strip()


def test_copied_folder_has_no_commit(package):
    assert version.commit() is None
    assert version.version_text() == f"{__version__}, commit unknown"


def test_built_package_says_what_it_was_built_from(package):
    (package / version.COMMIT_FILE).write_text("0123456789ab\n")
    assert version.version_text() == f"{__version__}, commit 0123456789ab"


def test_checkout_comes_before_the_build_and_says_whether_it_has_changed(package):
    (package / version.COMMIT_FILE).write_text("0123456789ab\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "First")
    head = git(package.parent, "rev-parse", "HEAD")
    (package.parent / "notes.txt").write_text("beside the package")
    assert version.commit() == head[:12]
    version.commit.cache_clear()
    (package / "module.py").write_text("")
    assert version.commit() == f"{head[:12]}+changes"


def test_checkout_without_git_has_no_commit(package, monkeypatch):
    (package.parent / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert version.commit() is None
