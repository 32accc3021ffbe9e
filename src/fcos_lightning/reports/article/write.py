"""``article.html``, with ``article.json`` beside it: every number of the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fcos_lightning
from fcos_lightning.reports.page import json_text, page
from fcos_lightning.storage.replacing import write_whole

PAGE, NUMBERS = "article.html", "article.json"
#: Changed where a reader of ``article.json`` would have to know.
FORMAT = 1
#: What was published on COCO, which the tables have beside what is measured: of FCOS's paper
#: (arXiv 1904.01355) tables 1, 2 and 4, and of SSD's (1512.02325) section 3.1.
PUBLISHED: dict[str, Any] = {
    "ambiguous": {
        "one level, every point of a box": {"share": 0.2316, "several_classes_share": 0.1784},
        "pyramid, every point of a box": {"share": 0.0714, "several_classes_share": 0.0375},
    },
    "recall": {"FCOS, one level": 0.9555, "FCOS, pyramid": 0.9840},
    "AP": {"fcos quality_on=none": 0.335, "fcos quality_on=classification": 0.371},
}


def write_article(
    folder: Path,
    untrained: Mapping[str, Any],
    trained: list[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """Write the page and its numbers into a folder, the page last.

    Args:
        folder: is there.
        untrained: of the claims that need no training.
        trained: a row for each case.
        command: that made it.

    Returns:
        The numbers.

    Raises:
        UserError: if a file cannot be written.
    """
    numbers = {
        "format": FORMAT,
        "fcos_lightning": fcos_lightning.__version__,
        "command": command,
        **untrained,
        "trained": trained,
        "published": PUBLISHED,
    }
    write_whole(json_text(numbers), folder / NUMBERS)
    write_whole(article_page(numbers), folder / PAGE)
    return numbers


def article_page(numbers: Mapping[str, Any]) -> str:
    """Return the page of such numbers."""
    rows = {row["name"]: row for row in numbers["trained"]}
    nets = {row["name"]: row for row in numbers["nets"]}
    return page(
        "article.html",
        (),
        numbers,
        quality=[{**nets[name], **row} for name, row in rows.items() if _about_quality(name)],
        methods=[{**nets[name], **row} for name, row in rows.items() if " " not in name],
    )


def _about_quality(name: str) -> bool:
    """Tell whether a case is FCOS with its centerness or another in its place."""
    return name in ("fcos", "fcos_iou") or name.startswith("fcos ")
