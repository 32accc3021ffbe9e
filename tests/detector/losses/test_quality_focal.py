"""The losses of graded positives against plain formulas, and what they are divided by."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.detector.assigners.predicted_scenes import scene as mapped_scene
from torch import Tensor
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

from fcos_lightning.boxes import ltrb_to_xyxy
from fcos_lightning.detector.assigners.dsla import DSLAAssigner
from fcos_lightning.detector.assigners.gfl import GFLAssigner
from fcos_lightning.detector.heads.distribution import DistributionPrediction
from fcos_lightning.detector.losses.quality_focal import QualityFocalLoss
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Totals

REACH = 12


def scene(seed: int = 0) -> tuple[DistributionPrediction, Assignment, Points]:
    """A prediction of distributions, and the assignment of GFL."""
    points, targets, prediction = mapped_scene(seed)
    random = torch.Generator().manual_seed(seed)
    sides = (2, len(points.xy), 4, REACH + 1)
    side_logits = (torch.randn(sides, generator=random) * 2).requires_grad_()
    strides = (side_logits.softmax(dim=-1) * torch.arange(REACH + 1.0)).sum(dim=-1)
    of_sides = DistributionPrediction(
        prediction.cls_logits.requires_grad_(),
        strides * points.stride[:, None],
        side_logits=side_logits,
    )
    return of_sides, GFLAssigner()(points, targets, of_sides), points


def corners(prediction: Prediction, assignment: Assignment, points: Points) -> tuple[Tensor, ...]:
    xy = points.xy.expand(len(assignment.labels), -1, -1)[assignment.positive]
    ours, true = prediction.ltrb_px[assignment.positive], assignment.ltrb_px[assignment.positive]
    return ltrb_to_xyxy(xy, ours), ltrb_to_xyxy(xy, true)


def plain_iou_loss(a: Tensor, b: Tensor) -> Tensor:
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=1) for box in (a, b)]
    return 1 - shared / (areas[0] + areas[1] - shared)


KINDS = {
    "iou": plain_iou_loss,
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_term_is_a_weighted_mean(kind: str) -> None:
    for seed in range(10):
        prediction, assignment, points = scene(seed)
        assert assignment.weight is not None
        loss = QualityFocalLoss(box_loss=kind)  # type: ignore[arg-type]
        found = loss(prediction, assignment, points).terms["box"]
        each = KINDS[kind](*corners(prediction, assignment, points))
        weight = assignment.weight[assignment.positive]
        wanted = 2 * (each * weight).sum() / weight.sum().clamp(min=1)
        assert found.item() == pytest.approx(wanted.item(), rel=1e-4, abs=1e-6)


def test_the_class_of_a_positive_is_how_well_its_box_fits() -> None:
    prediction, assignment, points = scene(3)
    found = QualityFocalLoss()(prediction, assignment, points).terms["cls"]
    overlap = 1 - plain_iou_loss(*corners(prediction, assignment, points))
    goals = torch.zeros_like(prediction.cls_logits)
    goals[assignment.positive, assignment.labels[assignment.positive]] = overlap.detach()
    probability = prediction.cls_logits.sigmoid()
    cross_entropy = -(goals * probability.log() + (1 - goals) * (1 - probability).log())
    wanted = ((goals - probability) ** 2 * cross_entropy).sum() / assignment.positive.sum()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_the_class_term_tells_the_box_nothing() -> None:
    """The overlap is a goal, not a way to lower the loss."""
    prediction, assignment, points = scene(4)
    found = QualityFocalLoss()(prediction, assignment, points)
    (gradient,) = torch.autograd.grad(
        found.terms["cls"], prediction.side_logits, allow_unused=True, retain_graph=True
    )
    assert gradient is None or not gradient.any()
    (gradient,) = torch.autograd.grad(found.terms["box"], prediction.side_logits)
    assert gradient.any() and gradient.isfinite().all()


def test_weights_of_the_mapping_are_the_goal_and_divide() -> None:
    points, targets, prediction = mapped_scene(6)
    assignment = DSLAAssigner()(points, targets, prediction)
    assert assignment.weight is not None
    loss = QualityFocalLoss(goal="weight")
    assert set(loss.totals(assignment)) == {"weight"}
    terms = loss(prediction, assignment, points).terms
    total = float(assignment.weight.sum())
    assert total > 1 and set(terms) == {"cls", "box"}  # no distributions, no such term
    goals = torch.zeros_like(prediction.cls_logits)
    where = assignment.positive
    goals[where, assignment.labels[where]] = assignment.weight[where]
    probability = prediction.cls_logits.sigmoid()
    cross_entropy = -(goals * probability.log() + (1 - goals) * (1 - probability).log())
    wanted = ((goals - probability) ** 2 * cross_entropy).sum() / total
    assert terms["cls"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_without_weights_each_positive_is_a_whole_one() -> None:
    prediction, assignment, points = scene(1)
    plain = replace(assignment, weight=None)
    ones = replace(assignment, weight=assignment.positive.float())
    for loss in (QualityFocalLoss(), QualityFocalLoss(goal="weight")):
        assert loss(prediction, plain, points).terms == loss(prediction, ones, points).terms
        assert loss.totals(plain)["weight"] == assignment.positive.sum()


def test_totals_of_two_batches_halve_a_batch_and_no_weight_divides_by_one() -> None:
    prediction, assignment, points = scene(2)
    loss = QualityFocalLoss()
    own = loss.totals(assignment)
    alone = loss(prediction, assignment, points)
    twice = Totals({name: value * 2 for name, value in own.items()}, 2)
    torch.testing.assert_close(
        dict(loss(prediction, assignment, points, twice).terms), dict(alone.terms)
    )
    few = Totals({"weight": torch.tensor(0.01), "positives": torch.tensor(0.0)})
    one = Totals({"weight": torch.tensor(1.0), "positives": torch.tensor(1.0)})
    assert loss(prediction, assignment, points, few).terms == (
        loss(prediction, assignment, points, one).terms
    )
    moving = Totals({**own, "moving_positives": own["positives"] * 4})
    quarter = loss(prediction, assignment, points, moving).terms["cls"]
    assert quarter.item() == pytest.approx(alone.terms["cls"].item() / 4)


def test_images_without_boxes_and_garbage_on_background() -> None:
    prediction, _, points = scene(3)
    none = Target(torch.zeros(0, 4), torch.zeros(0).long())
    nothing = GFLAssigner()(points, [none, none], prediction)
    garbage = replace(prediction, ltrb_px=torch.full_like(prediction.ltrb_px, math.nan))
    losses = QualityFocalLoss()(garbage, nothing, points)
    assert losses.terms["box"] == 0 and losses.terms["sides"] == 0 and losses.terms["cls"] > 0
    losses.total.backward()
    assert prediction.cls_logits.grad is not None and prediction.cls_logits.grad.isfinite().all()
    assert prediction.side_logits.grad is not None and not prediction.side_logits.grad.any()


def test_under_autocast_nothing_changes() -> None:
    prediction, assignment, points = scene(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = QualityFocalLoss()(prediction, assignment, points)
    assert under.terms == QualityFocalLoss()(prediction, assignment, points).terms


def test_factors_multiply_and_numbers_out_of_range_are_refused() -> None:
    prediction, assignment, points = scene(1)
    usual = QualityFocalLoss()(prediction, assignment, points).terms
    other = QualityFocalLoss(box_factor=1.0, sides_factor=1.0)(prediction, assignment, points).terms
    assert other["box"].item() == pytest.approx(usual["box"].item() / 2)
    assert other["sides"].item() == pytest.approx(usual["sides"].item() * 4)
    without = QualityFocalLoss(sides_factor=0.0)(prediction, assignment, points)
    assert set(without.terms) == {"cls", "box"}
    for options in ({"box_factor": -1.0}, {"sides_factor": -0.1}, {"beta": 0.5}):
        with pytest.raises(UserError, match=r"model\.loss\..*: give [01] or more"):
            QualityFocalLoss(**options)  # type: ignore[arg-type]
