"""Sums over many images at a time, against those that look at one image after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.explanation.scenes import METHODS, small_detector
from tests.reports.pages import hostile_split

import fcos_lightning.explanation.sums as module
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.grid import Grid
from fcos_lightning.explanation.answers import Answers
from fcos_lightning.explanation.looking import Onlooker
from fcos_lightning.explanation.mapping import LabelMapping
from fcos_lightning.explanation.settings import Setting, mapping_of
from fcos_lightning.explanation.sums import SizedImage, Sums, sized_images, sums_of
from fcos_lightning.structures import Target

#: The others label by what is predicted.
STATIC = [one for one in METHODS if one not in ("dsla", "gfl", "tal")]


@pytest.mark.parametrize(("method", "ignore"), [("fcos", False), *((one, True) for one in STATIC)])
def test_they_are_those_of_single_images(
    method: str, ignore: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TOGETHER", 4000)  # several batches of a size
    split, _ = hostile_split(tmp_path, seed=3)
    mapping = mapping_of(small_detector(method))
    answers, ignored = Answers(), 0
    onlooker = Onlooker(split, ignore)
    for image in range(len(split)):
        looked = onlooker.look(image, Setting(mapping, 96, 160, "none", method))
        answers.add(image, looked.mapped, looked.labels, looked.sized.rows, len(looked.wanted))
        ignored += looked.mapped.ignored
    images = sized_images(split, range(len(split)), 96, 160, ignore)
    # A center of several boxes is the business of all of them together.
    by_class = method != "centernet"
    sums = sums_of(mapping, images, by_class)
    of_levels = {
        key: sum(getattr(level, key) for level in answers.levels)
        for key in ("points", "positive", "ambiguous", "classes")
    }
    assert sums == Sums(
        images=len(split),
        points=of_levels["points"],
        positive=of_levels["positive"],
        ignored=ignored,
        ambiguous=of_levels["ambiguous"],
        several_classes=of_levels["classes"] if by_class else None,
        boxes=answers.boxes,
        answered=answers.boxes - len(answers.unanswered),
    )
    assert sums.best_recall == pytest.approx(answers.best_recall)
    assert sums.positive > 0
    assert sums.background + sums.positive + sums.ignored == sums.points


def test_two_boxes_by_hand() -> None:
    """On one level of stride 16 the columns at 24 and 40 lie in both boxes."""
    boxes = torch.tensor([[0.0, 0.0, 48.0, 32.0], [16.0, 0.0, 64.0, 32.0]])
    mapping = LabelMapping(Grid((16,)), FCOSAssigner(((-1.0, float("inf")),), None), 16)
    for labels, several in (([0, 1], 4), ([1, 1], 0)):
        image = SizedImage(Target(boxes, torch.tensor(labels)), (32, 64), 3)
        sums = sums_of(mapping, [image, image], by_class=True)
        assert (sums.points, sums.positive, sums.ambiguous) == (16, 16, 8)
        assert sums.several_classes == 2 * several
        assert sums.ambiguous_share == 0.5 and sums.several_classes_share == several / 8
        assert sums.best_recall == pytest.approx(2 / 3)  # one was too small for this size


def test_without_boxes() -> None:
    mapping = LabelMapping(Grid((16,)), FCOSAssigner(((-1.0, float("inf")),), None), 16)
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    sums = sums_of(mapping, [SizedImage(none, (32, 32), 0)], by_class=True)
    assert sums == Sums(images=1, points=4, several_classes=0)
    assert sums.ambiguous_share is sums.several_classes_share is sums.best_recall is None
    assert sums_of(mapping, []) == Sums()


def test_no_image_is_read(tmp_path: Path) -> None:
    split, _ = hostile_split(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    found = sized_images(split, [2, 5], 96, 160, ignore=True)
    wanted = [int((~split.truth.ignored[split.truth.rows(image)]).sum()) for image in (2, 5)]
    assert [one.boxes for one in found] == wanted and np.all(np.array(wanted) > 0)
