"""The losses against the official outputs, plain formulas, and what autocast does to them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    sigmoid_focal_loss,
)

from fcos_lightning.boxes import iou_of_ltrb, ltrb_to_xyxy
from fcos_lightning.detector import FCOSLoss, assign, fcos_loss, make_points
from fcos_lightning.detector.losses.fcos import BoxLoss
from fcos_lightning.structures import (
    Assignment,
    Losses,
    Points,
    Prediction,
    Target,
    Totals,
)

BOX_LOSSES: list[BoxLoss] = ["iou", "linear_iou", "giou", "diou", "ciou"]
TERMS = ("cls", "box", "quality")


def scene(
    empty: bool = False, seed: int = 0, requires_grad: bool = True
) -> tuple[Prediction, Assignment, Points]:
    """Two images, two levels, three classes; ambiguous points and background among them."""
    points = make_points([(8, 8), (4, 4)], [8, 16])
    boxes = [[[2, 3, 50, 40], [20, 20, 60, 62]], [[5, 1, 30, 30], [1, 1, 63, 63], [40, 8, 52, 20]]]
    targets = [
        Target(
            torch.tensor([] if empty else rows, dtype=torch.float32).reshape(-1, 4),
            torch.arange(0 if empty else len(rows)),
        )
        for rows in boxes
    ]
    assignment = assign(points, targets, ((-1, 24), (24, math.inf)), 1.5)
    assert bool(assignment.positive.any()) is not empty
    generator = torch.Generator().manual_seed(seed)
    number = len(points.xy)
    prediction = Prediction(
        torch.randn(2, number, 3, generator=generator) * 2,
        torch.rand(2, number, 4, generator=generator) * 40,
        torch.randn(2, number, generator=generator) * 2,
    )
    if requires_grad:
        for tensor in (prediction.cls_logits, prediction.ltrb_px, prediction.quality_logits):
            tensor.requires_grad_()
    return prediction, assignment, points


def values(losses: Losses) -> list[float]:
    named = {**losses.terms, **losses.monitors}
    return [named[name].item() for name in (*TERMS, "quality_excess")]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def plain_focal(logit: float, is_class: bool, alpha: float, gamma: float) -> float:
    p = sigmoid(logit)
    if is_class:
        return -alpha * (1 - p) ** gamma * math.log(p)
    return -(1 - alpha) * p**gamma * math.log(1 - p)


def plain_iou(p: list[float], t: list[float], offset: float) -> float:
    """Of distances, one by one; 1e-7 in the union as ours, for the sake of comparison."""
    width = min(p[0], t[0]) + min(p[2], t[2])
    height = min(p[1], t[1]) + min(p[3], t[3])
    intersection = width * height
    area = (p[0] + p[2]) * (p[1] + p[3]) + (t[0] + t[2]) * (t[1] + t[3])
    return (intersection + offset) / (area - intersection + (offset or 1e-7))


def plain_box_loss(p: list[float], t: list[float], kind: str, offset: float) -> float:
    iou = plain_iou(p, t, offset)
    if kind == "iou":
        return -math.log(max(iou, 1e-6))
    if kind == "linear_iou":
        return 1 - iou
    # The others on corners, with the point at the origin.
    pb, tb = [-p[0], -p[1], p[2], p[3]], [-t[0], -t[1], t[2], t[3]]
    hull_w, hull_h = max(pb[2], tb[2]) - min(pb[0], tb[0]), max(pb[3], tb[3]) - min(pb[1], tb[1])
    size_p, size_t = (pb[2] - pb[0], pb[3] - pb[1]), (tb[2] - tb[0], tb[3] - tb[1])
    inner_w = min(pb[2], tb[2]) - max(pb[0], tb[0])
    inner_h = min(pb[3], tb[3]) - max(pb[1], tb[1])
    union = size_p[0] * size_p[1] + size_t[0] * size_t[1] - inner_w * inner_h
    if kind == "giou":
        return 1 - iou + (hull_w * hull_h - union) / (hull_w * hull_h)
    centers = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (pb, tb)]
    distance = math.dist(*centers) ** 2 / (hull_w**2 + hull_h**2)
    if kind == "diou":
        return 1 - iou + distance
    v = 4 / math.pi**2 * (math.atan(size_t[0] / size_t[1]) - math.atan(size_p[0] / size_p[1])) ** 2
    return 1 - iou + distance + v * v / (1 - iou + v + 1e-7)


def plain_losses(
    prediction: Prediction,
    assignment: Assignment,
    points: Points,
    *,
    box_loss: str,
    box_epsilon: str,
    box_units: str,
    quality: str,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> list[float]:
    """All of ``fcos_loss`` with one number at a time."""
    offset = 1.0 if box_epsilon == "official" else 0.0
    positives = weights = cls_sum = box_sum = quality_sum = entropy = 0.0
    for image in range(len(assignment.labels)):
        for point, stride in enumerate(points.stride.tolist()):
            label = int(assignment.labels[image, point])
            for number, logit in enumerate(prediction.cls_logits[image, point].tolist()):
                cls_sum += plain_focal(logit, number == label, alpha, gamma)
            if label < 0:
                continue
            unit = stride if box_units == "strides" else 1.0
            p = [side / unit for side in prediction.ltrb_px[image, point].tolist()]
            t = [side / unit for side in assignment.ltrb_px[image, point].tolist()]
            centerness = math.sqrt(
                min(t[0], t[2]) / max(t[0], t[2]) * min(t[1], t[3]) / max(t[1], t[3])
            )
            goal = centerness if quality == "centerness" else plain_iou(p, t, offset)
            weight = centerness if quality == "centerness" else 1.0
            q = sigmoid(prediction.quality_logits[image, point].item())
            positives += 1
            weights += weight
            box_sum += weight * plain_box_loss(p, t, box_loss, offset)
            quality_sum -= goal * math.log(q) + (1 - goal) * math.log(1 - q)
            entropy -= sum(x * math.log(x) for x in (goal, 1 - goal) if x > 0)
    return [
        cls_sum / positives,
        box_sum / weights,
        quality_sum / positives,
        (quality_sum - entropy) / positives,
    ]


@pytest.mark.parametrize("quality", ["centerness", "iou"])
@pytest.mark.parametrize("box_units", ["strides", "pixels"])
@pytest.mark.parametrize("box_epsilon", ["official", "plain"])
@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_every_option_against_the_plain_formulas(
    box_loss: BoxLoss, box_epsilon: str, box_units: str, quality: str
) -> None:
    options = {"box_epsilon": box_epsilon, "box_units": box_units, "quality": quality}
    prediction, assignment, points = scene()
    losses = fcos_loss(prediction, assignment, points, box_loss=box_loss, **options)  # type: ignore[arg-type]
    expected = plain_losses(prediction, assignment, points, box_loss=box_loss, **options)
    assert values(losses) == pytest.approx(expected, rel=1e-5)
    assert losses.total.item() == pytest.approx(sum(expected[:3]), rel=1e-5)
    losses.total.backward()
    for tensor in (prediction.cls_logits, prediction.ltrb_px, prediction.quality_logits):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0
    # Background says nothing about boxes and their quality.
    assert prediction.ltrb_px.grad is not None
    assert prediction.quality_logits.grad is not None
    assert (prediction.ltrb_px.grad[~assignment.positive] == 0).all()
    assert (prediction.quality_logits.grad[~assignment.positive] == 0).all()


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 0.0), (0.5, 1.5)])
def test_focal_loss_is_torchvisions_and_the_papers(alpha: float, gamma: float) -> None:
    prediction, assignment, points = scene()
    losses = fcos_loss(prediction, assignment, points, focal_alpha=alpha, focal_gamma=gamma)
    one_hot = torch.zeros_like(prediction.cls_logits)
    rows, columns = assignment.positive.nonzero(as_tuple=True)
    one_hot[rows, columns, assignment.labels[rows, columns]] = 1
    positives = int(assignment.positive.sum())
    theirs = sigmoid_focal_loss(prediction.cls_logits, one_hot, alpha, gamma, "sum") / positives
    assert losses.terms["cls"].item() == pytest.approx(theirs.item(), rel=1e-6)
    plain = sum(
        plain_focal(logit, bool(is_class), alpha, gamma)
        for logit, is_class in zip(
            prediction.cls_logits.flatten().tolist(), one_hot.flatten().tolist(), strict=True
        )
    )
    assert losses.terms["cls"].item() == pytest.approx(plain / positives, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "torchvisions"),
    [
        ("giou", generalized_box_iou_loss),
        ("diou", distance_box_iou_loss),
        ("ciou", complete_box_iou_loss),
    ],
)
def test_box_losses_are_torchvisions(kind: BoxLoss, torchvisions: object) -> None:
    assert callable(torchvisions)
    prediction, assignment, points = scene()
    totals = Totals({"positives": torch.tensor(1.0), "quality": torch.tensor(1.0)})
    ours = fcos_loss(
        prediction,
        assignment,
        points,
        totals,
        box_loss=kind,
        box_epsilon="plain",
        box_units="pixels",
        quality="iou",
    ).terms["box"]
    positive = assignment.positive
    xy = points.xy.expand(2, -1, 2)[positive]
    theirs = torchvisions(
        ltrb_to_xyxy(xy, prediction.ltrb_px[positive]),
        ltrb_to_xyxy(xy, assignment.ltrb_px[positive]),
        reduction="none",
    ).sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    (our_gradient,) = torch.autograd.grad(ours, prediction.ltrb_px)
    (their_gradient,) = torch.autograd.grad(theirs, prediction.ltrb_px)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-3, atol=1e-5)


def test_torchvisions_box_loss_is_a_plain_mean_over_the_positives() -> None:
    prediction, assignment, points = scene()
    ours = fcos_loss(
        prediction, assignment, points, box_loss="giou", box_epsilon="plain", box_weight="none"
    )
    positive = assignment.positive
    xy = points.xy.expand(2, -1, 2)[positive]
    theirs = generalized_box_iou_loss(
        ltrb_to_xyxy(xy, prediction.ltrb_px[positive]),
        ltrb_to_xyxy(xy, assignment.ltrb_px[positive]),
        reduction="mean",
    )
    assert ours.terms["box"].item() == pytest.approx(theirs.item(), rel=1e-5)
    weighted = fcos_loss(prediction, assignment, points, box_loss="giou", box_epsilon="plain")
    assert ours.terms["quality"] == weighted.terms["quality"]  # the branch learns as before
    assert ours.terms["box"].item() != pytest.approx(weighted.terms["box"].item(), rel=1e-3)


def test_the_official_losses_and_gradients(shared: Path) -> None:
    cases = torch.load(shared / "golden" / "targets_official.pt", weights_only=True)
    with_outputs = [case for case in cases if "cls" in case]
    assert len(with_outputs) == 16
    for case in with_outputs:
        levels = {
            part: [level.clone().requires_grad_() for level in case[part]]
            for part in ("cls", "reg", "ctr")
        }
        cls, ltrb, ctr = (
            torch.cat([level.flatten(2).transpose(1, 2) for level in levels[part]], dim=1)
            for part in ("cls", "reg", "ctr")
        )
        sizes = [tuple(level.shape[-2:]) for level in case["cls"]]
        points = make_points(sizes, [8, 16, 32, 64, 128])
        in_strides = case["norm_reg_targets"]
        prediction = Prediction(
            cls, ltrb * points.stride[:, None] if in_strides else ltrb, ctr[..., 0]
        )
        targets = [Target(image["boxes"], image["labels"]) for image in case["targets"]]
        losses = fcos_loss(
            prediction,
            assign(points, targets, center_radius=case["radius"] or None),
            points,
            box_loss=case["iou_loss"],
            box_epsilon="official",
            box_units="strides" if in_strides else "pixels",
        )
        official = case["losses"]
        assert losses.terms["cls"].item() == pytest.approx(official["cls"], rel=1e-4)
        assert losses.terms["box"].item() == pytest.approx(official["box"], rel=1e-4)
        assert losses.terms["quality"].item() == pytest.approx(official["centerness"], rel=1e-4)
        losses.total.backward()
        for part, norms in case["grad_norms"].items():
            ours = [level.grad.norm().item() for level in levels[part]]
            assert ours == pytest.approx(list(norms), rel=1e-3, abs=1e-9)


def test_the_official_log_iou_has_no_bound() -> None:
    # 1 px about a point in a box of 2000 by 2000 px: (1 + 1) / (4e6 + 1), below any clamp's 1e-6.
    points = make_points([(1, 1)], [8])
    prediction = Prediction(torch.zeros(1, 1, 1), torch.full((1, 1, 4), 0.5), torch.zeros(1, 1))
    far = torch.full((1, 1, 4), 1000.0)
    assignment = Assignment(*(torch.zeros(1, 1, dtype=torch.int64), far), *[torch.zeros(1, 1)] * 2)
    options: dict[str, Any] = {"box_loss": "iou", "box_units": "pixels"}
    official = fcos_loss(prediction, assignment, points, **options, box_epsilon="official")
    assert official.terms["box"].item() == pytest.approx(-math.log(2 / (4e6 + 1)), rel=1e-6)
    plain = fcos_loss(prediction, assignment, points, **options, box_epsilon="plain")
    assert plain.terms["box"].item() == pytest.approx(-math.log(1e-6), rel=1e-6)


def test_dividing_by_positives_and_images() -> None:
    prediction, assignment, points = scene()
    usual = fcos_loss(prediction, assignment, points)
    more = fcos_loss(prediction, assignment, points, divide_by="positives_and_images")
    positives, images = int(assignment.positive.sum()), len(assignment.labels)
    ratio = positives / (positives + images)
    assert more.terms["cls"].item() == pytest.approx(usual.terms["cls"].item() * ratio, rel=1e-6)
    for term in ("box", "quality"):
        assert more.terms[term] == usual.terms[term]
    # Of two batches that a step accumulates, each divides by its share of both.
    loss = FCOSLoss(divide_by="positives_and_images")
    sums = {name: 2 * value for name, value in loss.totals(assignment).items()}
    assert sums["images"] == 2 * images
    shared = loss(prediction, assignment, points, Totals(sums, batches=2))
    assert shared.terms["cls"].item() == pytest.approx(more.terms["cls"].item(), rel=1e-6)
    averaged = Totals({**sums, "moving_positives": torch.tensor(10.0)}, batches=2)
    moving = loss(prediction, assignment, points, averaged).terms["cls"].item()
    assert moving == pytest.approx(usual.terms["cls"].item() * positives / (5 + images), rel=1e-6)
    nothing, none_assigned, _ = scene(empty=True)
    empty = fcos_loss(nothing, none_assigned, points, divide_by="positives_and_images")
    assert math.isfinite(empty.total.item())


@pytest.mark.parametrize("quality", ["centerness", "iou"])
@pytest.mark.parametrize("box_epsilon", ["official", "plain"])
@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_no_box_in_any_image(box_loss: BoxLoss, box_epsilon: str, quality: str) -> None:
    prediction, assignment, points = scene(empty=True)
    losses = fcos_loss(
        prediction,
        assignment,
        points,
        box_loss=box_loss,
        box_epsilon=box_epsilon,  # type: ignore[arg-type]
        quality=quality,  # type: ignore[arg-type]
    )
    assert values(losses)[1:] == [0, 0, 0]
    assert losses.terms["cls"].item() > 0
    losses.total.backward()
    # A gradient of zero, not None: every rank of a distributed run takes part in the reduction.
    for tensor in (prediction.ltrb_px, prediction.quality_logits):
        assert tensor.grad is not None
        assert (tensor.grad == 0).all()
    assert prediction.cls_logits.grad is not None
    assert prediction.cls_logits.grad.isfinite().all()


@pytest.mark.parametrize("zero", [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]])
@pytest.mark.parametrize("box_epsilon", ["official", "plain"])
@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_distances_of_zero(box_loss: BoxLoss, box_epsilon: str, zero: list[int]) -> None:
    prediction, assignment, points = scene(requires_grad=False)
    ltrb = (prediction.ltrb_px * torch.tensor(zero)).requires_grad_()
    losses = fcos_loss(
        Prediction(prediction.cls_logits, ltrb, prediction.quality_logits),
        assignment,
        points,
        box_loss=box_loss,
        box_epsilon=box_epsilon,  # type: ignore[arg-type]
    )
    losses.total.backward()
    assert all(math.isfinite(value) for value in values(losses))
    assert ltrb.grad is not None
    assert ltrb.grad.isfinite().all()


def test_garbage_on_background_changes_neither_box_nor_quality() -> None:
    prediction, assignment, points = scene(requires_grad=False)
    expected = values(fcos_loss(prediction, assignment, points))
    garbage = torch.where(assignment.positive[..., None], prediction.ltrb_px, math.inf)
    garbage.requires_grad_()
    losses = fcos_loss(
        Prediction(prediction.cls_logits, garbage, prediction.quality_logits), assignment, points
    )
    assert values(losses) == expected
    losses.total.backward()
    assert garbage.grad is not None
    assert garbage.grad.isfinite().all()


def perfect(assignment: Assignment) -> tuple[Prediction, Tensor]:
    """What predicts each target exactly, and the centerness of the positives."""
    left, top, right, bottom = assignment.ltrb_px.double().unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    along = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    centerness = torch.where(assignment.positive, (across * along).sqrt(), 0.5)
    one_hot = assignment.labels[..., None] == torch.arange(3)
    prediction = Prediction(
        torch.where(one_hot, 30.0, -30.0),
        torch.where(assignment.positive[..., None], assignment.ltrb_px, 7.0),
        centerness.logit(eps=1e-7).float(),
    )
    return prediction, centerness[assignment.positive]


@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_a_perfect_prediction_costs_only_the_entropy(box_loss: BoxLoss) -> None:
    _, assignment, points = scene(requires_grad=False)
    prediction, c = perfect(assignment)
    losses = fcos_loss(prediction, assignment, points, box_loss=box_loss)
    assert losses.terms["cls"].item() == pytest.approx(0, abs=1e-6)
    assert losses.terms["box"].item() == pytest.approx(0, abs=1e-6)
    assert losses.monitors["quality_excess"].item() == pytest.approx(0, abs=1e-6)
    floor = -(torch.xlogy(c, c) + torch.xlogy(1 - c, 1 - c)).mean()
    assert losses.terms["quality"].item() == pytest.approx(floor.item(), abs=1e-6)
    assert floor > 0.3  # the plateau that is mistaken for failure
    assert not losses.monitors["quality_excess"].requires_grad


def test_any_other_quality_costs_more() -> None:
    _, assignment, points = scene(requires_grad=False)
    prediction, _ = perfect(assignment)
    for shift in (-0.5, 0.5):
        moved = Prediction(
            prediction.cls_logits, prediction.ltrb_px, prediction.quality_logits + shift
        )
        assert fcos_loss(moved, assignment, points).monitors["quality_excess"].item() > 1e-3


@pytest.mark.parametrize("quality", ["centerness", "iou"])
def test_autocast_changes_nothing(quality: str) -> None:
    prediction, assignment, points = scene()
    plain = fcos_loss(prediction, assignment, points, quality=quality)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(plain.total, prediction.ltrb_px)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = fcos_loss(prediction, assignment, points, quality=quality)  # type: ignore[arg-type]
    assert values(under) == values(plain)
    assert {under.terms[term].dtype for term in TERMS} == {torch.float32}
    (under_gradient,) = torch.autograd.grad(under.total, prediction.ltrb_px)
    assert torch.equal(gradient, under_gradient)


def test_autocast_is_off_inside_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which operations autocast touches differs by device, so look at the switch itself.
    seen: list[bool] = []

    def watched(*arguments: Any) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return iou_of_ltrb(*arguments)

    monkeypatch.setattr("fcos_lightning.detector.losses.fcos.iou_of_ltrb", watched)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")
        fcos_loss(*scene(), quality="iou")
    assert seen == [False, False]


def test_logits_in_bfloat16_are_summed_in_float32() -> None:
    prediction, assignment, points = scene(requires_grad=False)
    low = Prediction(
        *(
            getattr(prediction, part).bfloat16()
            for part in ("cls_logits", "ltrb_px", "quality_logits")
        )
    )
    rounded = Prediction(
        *(getattr(low, part).float() for part in ("cls_logits", "ltrb_px", "quality_logits"))
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = fcos_loss(low, assignment, points)
    assert losses.total.dtype == torch.float32
    assert values(losses) == values(fcos_loss(rounded, assignment, points))


def test_totals_are_those_of_the_batch_or_those_given() -> None:
    prediction, assignment, points = scene()
    own = FCOSLoss().totals(assignment)
    assert own["positives"].item() == int(assignment.positive.sum())
    _, centerness = perfect(assignment)
    assert own["quality"].item() == pytest.approx(centerness.sum().item(), rel=1e-6)
    expected = values(fcos_loss(prediction, assignment, points))
    assert values(fcos_loss(prediction, assignment, points, Totals(own))) == expected
    other = Totals({"positives": own["positives"] * 4, "quality": own["quality"] * 2})
    cls, box, quality, excess = values(fcos_loss(prediction, assignment, points, other))
    assert [cls * 4, box * 2, quality * 4, excess * 4] == pytest.approx(expected, rel=1e-6)
    # The same sums, of two batches: each divides by its half of them.
    halves = values(fcos_loss(prediction, assignment, points, Totals(own, batches=2)))
    assert halves == pytest.approx([2 * value for value in expected], rel=1e-6)
    moving = Totals({**own, "moving_positives": own["positives"] * 3})
    cls, *others = values(fcos_loss(prediction, assignment, points, moving))
    assert [cls * 3, *others] == pytest.approx(expected, rel=1e-6)


def test_without_quality_there_is_no_such_term() -> None:
    prediction, assignment, points = scene()
    plain = fcos_loss(prediction, assignment, points, box_weight="none")
    bare = Prediction(prediction.cls_logits, prediction.ltrb_px)
    for losses in (
        fcos_loss(bare, assignment, points),
        fcos_loss(prediction, assignment, points, quality="none"),
    ):
        assert list(losses.terms) == ["cls", "box"] and not losses.monitors
        assert losses.terms["box"] == plain.terms["box"]
        assert losses.total == plain.terms["cls"] + plain.terms["box"]


def test_ignored_points_say_nothing_about_classes() -> None:
    prediction, assignment, points = scene()
    ignored = ~assignment.positive & (torch.arange(len(points.xy)) % 3 == 0)
    grey = replace(assignment, ignored=ignored)
    kept = prediction.cls_logits.detach().clone()
    kept[ignored] = -80.0  # background beyond doubt
    expected = fcos_loss(replace(prediction, cls_logits=kept), assignment, points)
    losses = fcos_loss(prediction, grey, points)
    torch.testing.assert_close(losses.terms["cls"], expected.terms["cls"])
    losses.total.backward()
    assert prediction.cls_logits.grad is not None
    assert (prediction.cls_logits.grad[ignored] == 0).all()
    assert (prediction.cls_logits.grad[~ignored] != 0).all()


def test_no_gradient_flows_into_the_iou_as_a_target() -> None:
    prediction, assignment, points = scene()
    losses = fcos_loss(prediction, assignment, points, quality="iou")
    (gradient,) = torch.autograd.grad(
        losses.terms["quality"], prediction.ltrb_px, allow_unused=True
    )
    assert gradient is None or (gradient == 0).all()


def test_unknown_box_loss() -> None:
    with pytest.raises(ValueError, match=r"box_loss=gious: give one of iou, linear_iou"):
        fcos_loss(*scene(), box_loss="gious")  # type: ignore[arg-type]
