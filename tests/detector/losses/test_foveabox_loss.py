"""FoveaBox's losses beside mmdetection's, and on odd cases."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fcos_lightning import Target
from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.foveabox import FoveaBoxAssigner
from fcos_lightning.detector.heads.foveabox import LogPrediction
from fcos_lightning.detector.losses.foveabox import FoveaBoxLoss
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Prediction

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "foveabox.json").read_text())
SCENES = [one for one in RECORDED["scenes"] if one["cls"] is not None]
POINTS = Grid(tuple(RECORDED["strides"]))(tuple(RECORDED["size_hw"]))
UNIT = (4 * POINTS.stride)[:, None]


def predicted(scene: dict[str, Any]) -> LogPrediction:
    cls_logits = torch.tensor([scene["cls_logits"]]).requires_grad_()
    log_ltrb = (torch.tensor([scene["log_predicted"]]) + UNIT.log()).requires_grad_()
    return LogPrediction(cls_logits, log_ltrb.exp(), log_ltrb=log_ltrb)


def target(scene: dict[str, Any]) -> Target:
    return Target(torch.tensor(scene["boxes"]), torch.tensor(scene["labels"]))


@pytest.mark.parametrize("scene", SCENES, ids=lambda one: f"{len(one['boxes'])} boxes")
def test_the_numbers_of_mmdetection(scene: dict[str, Any]) -> None:
    prediction = predicted(scene)
    assignment = FoveaBoxAssigner()(POINTS, [target(scene)])
    losses = FoveaBoxLoss()(prediction, assignment, POINTS)
    assert losses.terms["cls"].item() == pytest.approx(scene["cls"], rel=1e-5)
    assert losses.terms["box"].item() == pytest.approx(scene["box"], rel=1e-5)
    slopes = torch.autograd.grad(losses.total, (prediction.cls_logits, prediction.log_ltrb))
    for ours, name in zip(slopes, ("cls_slope", "box_slope"), strict=True):
        theirs = torch.tensor(scene[name])
        torch.testing.assert_close(ours[0].sum(dim=1), theirs, rtol=1e-4, atol=1e-6)


def test_another_head_is_refused() -> None:
    assignment = FoveaBoxAssigner()(POINTS, [target(SCENES[0])])
    prediction = predicted(SCENES[0])
    with pytest.raises(ValueError, match="needs the head foveabox"):
        FoveaBoxLoss()(Prediction(prediction.cls_logits, prediction.ltrb_px), assignment, POINTS)


def test_a_beta_without_a_meaning() -> None:
    with pytest.raises(UserError, match=r"beta=0\.0: give a number above 0"):
        FoveaBoxLoss(beta=0.0)
