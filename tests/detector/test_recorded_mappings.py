"""Mappings and losses against what mmdetection made of the same inputs.

``recorded/mappings.json`` says which release, and holds inputs and outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fcos_lightning import Target
from fcos_lightning.detector import make_points
from fcos_lightning.detector.assigners.atss import ATSSAssigner
from fcos_lightning.detector.assigners.dsla import DSLAAssigner
from fcos_lightning.detector.assigners.gfl import GFLAssigner
from fcos_lightning.detector.assigners.tal import TALAssigner
from fcos_lightning.detector.heads.distribution import DistributionPrediction
from fcos_lightning.detector.losses.quality_focal import QualityFocalLoss
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Points

SCENES = json.loads((Path(__file__).parent / "recorded/mappings.json").read_text())["scenes"]
STRIDES = (8, 16, 32)
ASSIGNERS: dict[str, Assigner] = {
    "atss": ATSSAssigner(),
    "tal": TALAssigner(),
    "dsla": DSLAAssigner(),
}


def inputs(scene: dict[str, Any]) -> tuple[Points, list[Target], DistributionPrediction]:
    points = make_points([(64 // stride, 64 // stride) for stride in STRIDES], STRIDES)
    targets = [
        Target(torch.tensor(one["boxes_xyxy"]), torch.tensor(one["labels"]))
        for one in scene["targets"]
    ]
    side_logits = torch.tensor(scene["side_logits"])
    steps = torch.arange(float(side_logits.shape[-1]))
    ltrb_px = (side_logits.softmax(dim=-1) * steps).sum(dim=-1) * points.stride[:, None]
    cls_logits = torch.tensor(scene["cls_logits"])
    return points, targets, DistributionPrediction(cls_logits, ltrb_px, side_logits=side_logits)


@pytest.mark.parametrize("scene", SCENES, ids=range(len(SCENES)))
@pytest.mark.parametrize("name", ASSIGNERS)
def test_each_point_answers_for_the_same_box(name: str, scene: dict[str, Any]) -> None:
    points, targets, prediction = inputs(scene)
    found = ASSIGNERS[name](points, targets, prediction)
    theirs = torch.tensor(scene["matched"][name])
    assert torch.equal(found.matched, theirs) and (theirs >= 0).sum() > 10
    if name in scene["weight"]:
        assert found.weight is not None
        # They add 1e-6 to unions and 1e-6 to the largest t.
        weight = torch.tensor(scene["weight"][name])
        torch.testing.assert_close(found.weight, weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scene", SCENES, ids=range(len(SCENES)))
@pytest.mark.parametrize(
    ("name", "assigner", "loss"),
    [
        ("gfl", GFLAssigner(), QualityFocalLoss()),
        ("tal", TALAssigner(), QualityFocalLoss(goal="weight", sides_factor=0.0)),
        ("dsla", DSLAAssigner(), QualityFocalLoss(goal="weight", sides_factor=0.0)),
    ],
)
def test_the_losses_are_the_same(
    name: str, assigner: Assigner, loss: QualityFocalLoss, scene: dict[str, Any]
) -> None:
    points, targets, prediction = inputs(scene)
    found = loss(prediction, assigner(points, targets, prediction), points)
    theirs: dict[str, float] = scene["losses"][name]
    assert set(found.terms) == set(theirs) and min(theirs.values()) > 0.1
    for term, value in theirs.items():
        ours: Tensor = found.terms[term]
        assert ours.item() == pytest.approx(value, rel=1e-3 if name == "tal" else 1e-5), term
