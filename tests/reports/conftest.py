"""What tests of pages share: Debian's Chromium, driven by Playwright, and axe-core.

`make test-browser` installs both and axe-core, and sets FCOS_BROWSER_REQUIRED=1, with which what is
missing is a failure. Screenshots go to FCOS_SCREENSHOTS, by default a folder of pytest's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (390, 1440)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = os.environ.get("FCOS_SCREENSHOTS")
    if folder is None:
        return tmp_path_factory.mktemp("screenshots")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Any, page_file: Path) -> Iterator[Any]:
    """The open page, which the test's file gives as ``page_file``; without a network.

    That nothing went wrong in it is looked at in the end.
    """
    dark = "dark" if request.param == 390 else "light"
    size = {"width": request.param, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=dark, offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(page_file.as_uri())
    yield page
    assert said == []
    context.close()
