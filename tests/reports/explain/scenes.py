"""The page of a data set whose names are made to break it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from tests.explanation.scenes import small_detector
from tests.reports.pages import NAMES, hostile_split

from fcos_lightning.explanation.looking import Onlooker
from fcos_lightning.explanation.settings import Setting, mapping_of, one_changed, target_of
from fcos_lightning.reports.explain.explain import Asked, write_explanation


def hostile_explanation(folder: Path, method: str = "fcos", predicted: bool = True) -> Path:
    """Write page and numbers of a method's fresh net; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    images = folder / "images"
    images.mkdir()
    split, _ = hostile_split(images)
    torch.manual_seed(0)
    detector = small_detector(method, classes=len(NAMES))
    # A fresh net is sure of nothing.
    sure_of_little = {"score_threshold": 0.001, "nms_iou": 0.2}
    detector.decoder = replace(detector.decoder, **sure_of_little)  # type: ignore[type-var]
    base = Setting(mapping_of(detector), 96, 160, target_of(detector), "<b>own</b> method")
    other = small_detector("atss", classes=len(NAMES))
    others = {"atss": Setting(mapping_of(other), 96, 160, target_of(other), "atss")}
    asked = Asked(
        Onlooker(split, True, detector if predicted else None, threshold=0.06),
        list(one_changed(base, others)),
        range(len(split)),
        files=[],
        count=8,
        skip=False,
        title="runs/<b>bold</b>/best.ckpt",
        remarks=["A remark with <i>marks</i>."],
    )
    write_explanation(asked, folder, lambda images, _: images)
    return folder
