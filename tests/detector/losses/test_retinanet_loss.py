"""RetinaNet's losses beside torchvision's own, and what their options change."""

from dataclasses import replace

import pytest
import torch
from torchvision.models.detection.retinanet import RetinaNetHead as TorchvisionHead

from fcos_lightning import Target
from fcos_lightning.detector.assigners.anchors import AnchorAssigner
from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.heads.retinanet import AnchorPrediction, ltrb_of
from fcos_lightning.detector.losses.retinanet import RetinaNetLoss, offsets_of
from fcos_lightning.structures import Assignment, Points, Prediction, Totals

GRID = Grid(
    (8, 16), offset=0.0, spacing="image", anchor_scales=(4.0, 5.0397), anchor_ratios=(0.5, 1.0, 2.0)
)
CLASSES = 4


def targets_of(seed: int) -> list[Target]:
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for image in range(3):
        number = 0 if image == seed % 4 else int(torch.randint(1, 7, (1,), generator=generator))
        sides = torch.rand(number, 2, generator=generator) * 70 + 6
        start = torch.rand(number, 2, generator=generator) * 50
        labels = torch.randint(0, CLASSES, (number,), generator=generator)
        targets.append(Target(torch.cat([start, start + sides], dim=1), labels))
    return targets


def scene(seed: int) -> tuple[AnchorPrediction, Assignment, Points, list[Target]]:
    points, targets = GRID((96, 128)), targets_of(seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    number = len(points.xy)
    assert points.size_wh is not None
    cls = torch.randn(3, number, CLASSES, generator=generator).requires_grad_()
    offsets = (torch.randn(3, number, 4, generator=generator) * 0.3).requires_grad_()
    prediction = AnchorPrediction(cls, ltrb_of(offsets, points.size_wh), offsets=offsets)
    return prediction, AnchorAssigner()(points, targets), points, targets


@pytest.mark.parametrize("box_loss", ["l1", "smooth_l1", "giou"])
def test_fifty_scenes_lose_what_they_lose_in_torchvision(box_loss: str) -> None:
    head = TorchvisionHead(8, GRID.per_cell, CLASSES)
    head.regression_head._loss_type = box_loss
    for seed in range(50):
        prediction, assignment, points, targets = scene(seed)
        assert points.size_wh is not None and assignment.ignored is not None
        half = points.size_wh / 2
        anchors = [torch.cat([points.xy - half, points.xy + half], dim=1)] * 3
        matched = torch.where(assignment.ignored, -2, assignment.matched)
        theirs = head.compute_loss(
            [{"boxes": one.boxes_xyxy, "labels": one.labels} for one in targets],
            {"cls_logits": prediction.cls_logits, "bbox_regression": prediction.offsets},
            anchors,
            list(matched),
        )
        # torchvision's smooth L1 has beta 1.
        loss = RetinaNetLoss(box_loss=box_loss, divide_by="image", beta=1.0)  # type: ignore[arg-type]
        ours = loss(prediction, assignment, points)
        pairs = ((ours.terms["cls"], theirs["classification"]),
                 (ours.terms["box"], theirs["bbox_regression"]))  # fmt: skip
        for mine, their in pairs:
            torch.testing.assert_close(mine, their, rtol=1e-5, atol=1e-7)
        leaves = (prediction.cls_logits, prediction.offsets)
        our_grads = torch.autograd.grad(ours.total, leaves, retain_graph=True)
        their_grads = torch.autograd.grad(sum(theirs.values()), leaves)
        for mine, their in zip(our_grads, their_grads, strict=True):
            assert mine.isfinite().all()
            torch.testing.assert_close(mine, their, rtol=1e-4, atol=1e-7)


def test_divided_by_the_step_each_positive_counts_alike() -> None:
    prediction, assignment, points, _ = scene(1)
    per_image = RetinaNetLoss(divide_by="image")
    whole = RetinaNetLoss()(prediction, assignment, points)
    positives = assignment.positive.sum(dim=1)
    assert positives.unique().numel() > 1
    summed = {"cls": 0.0, "box": 0.0}
    for image in range(3):
        rows = slice(image, image + 1)
        one = AnchorPrediction(
            prediction.cls_logits[rows],
            prediction.ltrb_px[rows],
            offsets=prediction.offsets[rows],
        )
        assert assignment.ignored is not None
        its = Assignment(
            assignment.labels[rows],
            assignment.ltrb_px[rows],
            assignment.matched[rows],
            assignment.claims[rows],
            ignored=assignment.ignored[rows],
        )
        for name, value in per_image(one, its, points).terms.items():
            summed[name] += value.item() * max(int(positives[image]), 1)
    for name, value in whole.terms.items():
        assert value.item() == pytest.approx(summed[name] / int(positives.sum()), rel=1e-5)


@pytest.mark.parametrize("divide_by", ["step", "image"])
def test_totals_of_two_batches_halve_a_batch(divide_by: str) -> None:
    prediction, assignment, points, _ = scene(2)
    loss = RetinaNetLoss(divide_by=divide_by)  # type: ignore[arg-type]
    own = loss.totals(assignment)
    positives = float(assignment.positive.sum())
    assert own == ({"positives": positives} if divide_by == "step" else {"images": 3.0})
    alone = loss(prediction, assignment, points)
    twice = {name: value * 2 for name, value in own.items()}
    halves = loss(prediction, assignment, points, Totals(twice, 2))
    torch.testing.assert_close(dict(halves.terms), dict(alone.terms))


def test_a_moving_number_of_positives_divides_the_classes_alone() -> None:
    prediction, assignment, points, _ = scene(2)
    loss = RetinaNetLoss()
    own = loss.totals(assignment)
    alone = loss(prediction, assignment, points)
    moving = Totals({**own, "moving_positives": own["positives"] * 4})
    fourth = loss(prediction, assignment, points, moving)
    torch.testing.assert_close(fourth.terms["cls"], alone.terms["cls"] / 4)
    torch.testing.assert_close(fourth.terms["box"], alone.terms["box"])


@pytest.mark.parametrize("box_loss", ["l1", "smooth_l1", "giou"])
@pytest.mark.parametrize("divide_by", ["step", "image"])
def test_images_without_boxes_and_garbage_on_background(box_loss: str, divide_by: str) -> None:
    prediction, _, points, _ = scene(3)
    nothing = AnchorAssigner()(points, [Target(torch.zeros(0, 4), torch.zeros(0).long())] * 3)
    garbage = replace(prediction, ltrb_px=torch.full_like(prediction.ltrb_px, torch.nan))
    loss = RetinaNetLoss(box_loss=box_loss, divide_by=divide_by)  # type: ignore[arg-type]
    losses = loss(garbage, nothing, points)
    assert losses.terms["box"] == 0 and losses.terms["cls"] > 0
    losses.total.backward()
    assert prediction.offsets.grad is None or (prediction.offsets.grad == 0).all()
    assert prediction.cls_logits.grad is not None and prediction.cls_logits.grad.isfinite().all()


def test_offsets_and_boxes_are_each_others_inverse() -> None:
    _, _, points, _ = scene(4)
    assert points.size_wh is not None
    offsets = torch.randn(2, len(points.xy), 4, dtype=torch.float64)
    anchors = points.size_wh.double()
    again = offsets_of(ltrb_of(offsets, anchors), anchors)
    torch.testing.assert_close(again, offsets)


def test_under_autocast_nothing_changes() -> None:
    prediction, assignment, points, _ = scene(5)
    loss = RetinaNetLoss(box_loss="giou")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = loss(prediction, assignment, points)
    assert under.terms == loss(prediction, assignment, points).terms


def test_another_head_is_refused() -> None:
    prediction, assignment, points, _ = scene(6)
    with pytest.raises(ValueError, match="needs the head retinanet"):
        RetinaNetLoss()(Prediction(prediction.cls_logits, prediction.ltrb_px), assignment, points)


def test_the_overlap_of_the_giou_is_that_of_boxes() -> None:
    # Beside their anchor's center, distances are negative: only corners tell the overlap. From 6 to
    # 10 px and from 2 to 5, 4 px high: no overlap, and 4 of the hull's 32 square pixels are empty.
    points = Points(
        xy=torch.tensor([[4.0, 2.0]]),
        stride=torch.tensor([8.0]),
        feature_sizes=((1, 1),),
        strides=(8,),
        size_wh=torch.tensor([[8.0, 8.0]]),
    )
    one, zero = torch.ones(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)
    assignment = Assignment(zero, torch.tensor([[[2.0, 2, 1, 2]]]), zero, one)
    predicted = torch.tensor([[[-2.0, 2, 6, 2]]])
    prediction = AnchorPrediction(torch.zeros(1, 1, 1), predicted, offsets=torch.zeros(1, 1, 4))
    loss = RetinaNetLoss(box_loss="giou")(prediction, assignment, points).terms["box"]
    assert loss.item() == pytest.approx(1 + 4 / 32)
