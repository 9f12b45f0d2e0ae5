"""Fixtures of the evaluation tests."""

from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """Folder of the real images; skips where it is absent."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data").is_dir():
            return parent / "shared" / "data"
    pytest.skip("no ../shared/data")
