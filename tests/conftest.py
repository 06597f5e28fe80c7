"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _shared() -> Path:
    return Path(os.environ.get("FREEWILL_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of real clips, documents and interactions; in CI its absence is an error."""
    path = _shared()
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing: CI runs the tests on real material")
        pytest.skip(f"real material is not at {path} (set FREEWILL_SHARED)")
    return path
