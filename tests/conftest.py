"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
from tests.served_files import site as site


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden outputs and real data sets, which is not part of the repository."""
    folder = Path(os.environ.get("FCOS_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        reason = f"no golden data at {folder} (set FCOS_SHARED to its place)"
        if os.environ.get("FCOS_SHARED_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
