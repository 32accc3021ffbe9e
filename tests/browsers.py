"""A browser for the pages that the package writes: Debian's Chromium, driven by Playwright.

`make test-browser` installs what is needed, and sets FCOS_BROWSER_REQUIRED=1, with which what is
missing is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def missing(what: str) -> Any:
    reason = f"{what} is not installed; `make test-browser` installs it"
    if os.environ.get("FCOS_BROWSER_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    programs = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    program = next(filter(None, programs), None)
    if program is None:
        missing("a browser")
    with sync_playwright() as play:
        # Its sandbox cannot be had by root, nor is it needed for pages of our own.
        chromium = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    file = Path(os.environ.get("FCOS_AXE", ROOT / ".venv/node_modules/axe-core/axe.min.js"))
    return file.read_text(encoding="utf-8") if file.is_file() else missing("axe-core")


def pictures_shown(page: Any, selector: str) -> int:
    """Count the pictures of a page; -1 if one of them has no pixels."""
    shown: int = page.evaluate(
        "selector => Promise.all([...document.querySelectorAll(selector)].map(one => {"
        " const copy = new Image(); copy.src = one.getAttribute('href');"
        " return copy.decode().then(() => copy.naturalWidth > 0); }))"
        ".then(all => all.every(Boolean) ? all.length : -1)",
        selector,
    )
    return shown
