"""CenterNet's losses and peaks beside mmdetection's, and on odd cases."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fcos_lightning import Target
from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.centernet import CenterAssignment, CenterNetAssigner
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.decoders.centernet import PeakDecoder
from fcos_lightning.detector.heads.centernet import CenterPrediction
from fcos_lightning.detector.losses.center_focal import center_map
from fcos_lightning.detector.losses.centernet import CenterNetLoss
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Prediction

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "centernet.json").read_text())
POINTS = Grid((RECORDED["stride"],))(tuple(RECORDED["size_hw"]))
SCENES = pytest.mark.parametrize(
    "scene", RECORDED["scenes"], ids=lambda one: f"{len(one['boxes'])} boxes"
)


def rows(planes: list[list[float]]) -> torch.Tensor:
    return torch.tensor([planes]).transpose(1, 2)


def predicted(scene: dict[str, Any]) -> CenterPrediction:
    cls_logits = rows(scene["cls_logits"]).requires_grad_()
    # There, offsets are from the cell's corner.
    offsets, sides = rows(scene["offsets"]) - 0.5, rows(scene["sides"])
    ltrb = torch.cat([sides / 2 - offsets, sides / 2 + offsets], dim=-1) * RECORDED["stride"]
    return CenterPrediction(cls_logits, ltrb, offsets=offsets, sides=sides)


def assigned(scene: dict[str, Any]) -> CenterAssignment:
    boxes = torch.tensor(scene["boxes"]).reshape(-1, 4)
    target = Target(boxes, torch.tensor(scene["labels"]).long())
    return CenterNetAssigner()(POINTS, [target])


@SCENES
def test_the_map_of_centers_is_mmdetections(scene: dict[str, Any]) -> None:
    heat = torch.zeros(2, len(POINTS.xy))
    for label, point, value in scene["heat"]:
        heat[label, point] = value
    ours = center_map(assigned(scene), POINTS, 2)
    torch.testing.assert_close(ours[0], heat, rtol=0, atol=2e-6)


@SCENES
def test_the_numbers_of_mmdetection(scene: dict[str, Any]) -> None:
    prediction = predicted(scene)
    losses = CenterNetLoss()(prediction, assigned(scene), POINTS)
    for name, value in losses.terms.items():
        assert value.item() == pytest.approx(scene[name], rel=1e-5), name
    (slope,) = torch.autograd.grad(losses.total, prediction.cls_logits)
    theirs = torch.tensor(scene["slope"])
    torch.testing.assert_close(slope[0].sum(dim=1), theirs, rtol=1e-4, atol=2e-6)


@SCENES
def test_the_peaks_of_mmdetection(scene: dict[str, Any]) -> None:
    decoder = PeakDecoder(score_threshold=0.0, max_detections=20)
    size = torch.tensor([RECORDED["size_hw"]])
    (found,) = decoder(predicted(scene), POINTS, size)
    theirs = torch.tensor(scene["found"])
    torch.testing.assert_close(found.scores, theirs[:, 4], rtol=0, atol=1e-4)
    assert found.labels.tolist() == scene["found_labels"]
    # They clip later.
    limit = torch.tensor([96.0, 64, 96, 64])
    clipped = torch.minimum(theirs[:, :4].clamp(min=0), limit)
    torch.testing.assert_close(found.boxes_xyxy, clipped, rtol=0, atol=1e-3)


def plain_sum(
    logits: torch.Tensor, weight: torch.Tensor, centers: list[tuple[int, int, int]]
) -> torch.Tensor:
    loss = (weight * logits.sigmoid() ** 2 * F.softplus(logits)).sum()
    for image, label, point in centers:
        at_center = logits[image, label, point]
        loss = loss + (-at_center).sigmoid() ** 2 * F.softplus(-at_center)
    return loss


def test_two_boxes_of_a_class_in_a_cell_are_one_center_and_two_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 20], [1.0, 1, 20, 20], [0.0, 0, 21, 21], [4.0, 4, 4, 9]])
    target = Target(boxes, torch.tensor([1, 1, 0, 1]))
    assignment = CenterNetAssigner()(POINTS, [target])
    totals = CenterNetLoss().totals(assignment)
    assert (totals["positives"].item(), totals["boxes"].item()) == (2, 3)
    assert assignment.positive.sum() == 1 and assignment.claims.max() == 3

    prediction = predicted(RECORDED["scenes"][0])
    logits = prediction.cls_logits
    losses = CenterNetLoss()(prediction, assignment, POINTS)
    point = int(assignment.positive[0].nonzero())
    weight = (1 - center_map(assignment, POINTS, 2)) ** 4
    planes = logits.detach().transpose(1, 2).clone().requires_grad_()
    plain = plain_sum(planes, weight, [(0, 1, point), (0, 0, point)]) / 2
    torch.testing.assert_close(losses.terms["cls"], plain)
    (ours,) = torch.autograd.grad(losses.terms["cls"], logits)
    (theirs,) = torch.autograd.grad(plain, planes)
    torch.testing.assert_close(ours.transpose(1, 2), theirs, rtol=1e-5, atol=1e-8)


def test_ignored_points_are_no_background() -> None:
    assignment, prediction = assigned(RECORDED["scenes"][1]), predicted(RECORDED["scenes"][1])
    ignored = torch.zeros_like(assignment.positive)
    ignored[:, 100:200] = ~assignment.positive[:, 100:200]
    losses = CenterNetLoss()(prediction, replace(assignment, ignored=ignored), POINTS)
    (slope,) = torch.autograd.grad(losses.total, prediction.cls_logits)
    assert (slope[ignored] == 0).all()
    assert (slope[~ignored] != 0).any(dim=-1).all()


def test_other_parts_are_refused() -> None:
    prediction, assignment = predicted(RECORDED["scenes"][1]), assigned(RECORDED["scenes"][1])
    plain = Prediction(prediction.cls_logits, prediction.ltrb_px)
    with pytest.raises(ValueError, match="needs the head centernet"):
        CenterNetLoss()(plain, assignment, POINTS)
    others = FCOSAssigner()(POINTS, [Target(torch.zeros(0, 4), torch.zeros(0).long())])
    with pytest.raises(ValueError, match="needs the assigner centernet"):
        CenterNetLoss()(prediction, others, POINTS)


@pytest.mark.parametrize("option", ["size_weight", "focal_gamma", "center_power"])
def test_options_without_a_meaning(option: str) -> None:
    with pytest.raises(UserError, match=rf"{option}=-1\.0: give 0 or more"):
        CenterNetLoss(**{option: -1.0})
