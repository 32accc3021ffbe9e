"""The page of the article's claims on a few drawn shapes, some of its runs finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcos_lightning.reports.article.write import write_article
from fcos_lightning.runs.article.cases import case_name, cases_of
from fcos_lightning.runs.article.untrained import untrained_numbers
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.session import make_datamodule

WORDS = (
    "experiment=quickstart",
    "data.train_images=24",
    "data.val_images=4",
    "data.image_px=128",
    "data.shorter_side=128",
    "data.longer_side=128",
)
CASES = (
    ("method=fcos",),
    ("method=retinanet",),
    ("method=ssd",),
    ("method=fcos", "model.head.quality_on=none"),
    ("method=fcos_iou",),
    ("method=tal",),
)


def numbers_of(root: Path) -> dict[str, Any]:
    """Return what is told without training."""
    words = [*WORDS, f"data.root={root}"]
    with composed("train", words) as config:
        data = make_datamodule(config)
    return untrained_numbers(data, cases_of(words, CASES, data.train))


def written(folder: Path) -> dict[str, Any]:
    """Write a page of which one case is trained and the others are not."""
    rows: list[dict[str, Any]] = [
        {
            **dict.fromkeys(("AP", "AP50", "APs", "APm", "APl", "spread", "step_ms", "image_ms")),
            **{"name": case_name(case), "runs": 3, "done": 0},
        }
        for case in CASES
    ]
    rows[0] |= {"done": 2, "AP": 0.512, "AP50": 0.811, "spread": 0.004, "step_ms": 123.4}
    untrained = {**numbers_of(folder / "data"), "split": "<b>train</b> \u05e1\u05d5\u05e1"}
    return write_article(folder, untrained, rows, "fcos-train -m sweep=article data.root='a b'")
