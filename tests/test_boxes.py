"""Box arithmetic against plain formulas, torchvision and numerical gradients."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

from fcos_lightning.boxes import (
    IoUKind,
    centerness,
    clip_boxes,
    iou_of_ltrb,
    ltrb_to_xyxy,
    xyxy_to_ltrb,
)

KINDS: list[IoUKind] = ["iou", "giou", "diou", "ciou"]


def _pairs(number: int = 200, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Points, and two sets of distances around them, of scales from a pixel to a thousand."""
    generator = torch.Generator().manual_seed(seed)

    def distances() -> Tensor:
        uniform = torch.rand(number, 4, generator=generator, dtype=torch.float64)
        scale = 10 ** (3 * torch.rand(number, 1, generator=generator, dtype=torch.float64))
        return uniform * scale + 0.5

    xy = 1000 * torch.rand(number, 2, generator=generator, dtype=torch.float64)
    return xy, distances(), distances()


def plain_overlap(p: list[float], t: list[float], kind: str, offset: float, eps: float) -> float:
    """The formulas of the papers on two corner boxes, one number at a time."""
    width = max(0.0, min(p[2], t[2]) - max(p[0], t[0]))
    height = max(0.0, min(p[3], t[3]) - max(p[1], t[1]))
    intersection = width * height
    area_p, area_t = (p[2] - p[0]) * (p[3] - p[1]), (t[2] - t[0]) * (t[3] - t[1])
    union = area_p + area_t - intersection
    iou = (intersection + offset) / (union + (offset if offset else eps))
    hull_w = max(p[2], t[2]) - min(p[0], t[0])
    hull_h = max(p[3], t[3]) - min(p[1], t[1])
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (hull_w * hull_h - union) / (hull_w * hull_h + eps)
    apart = math.dist(
        ((p[0] + p[2]) / 2, (p[1] + p[3]) / 2), ((t[0] + t[2]) / 2, (t[1] + t[3]) / 2)
    )
    diou = iou - apart**2 / (hull_w**2 + hull_h**2 + eps)
    if kind == "diou":
        return diou
    v = (
        4
        / math.pi**2
        * (math.atan((t[2] - t[0]) / (t[3] - t[1])) - math.atan((p[2] - p[0]) / (p[3] - p[1]))) ** 2
    )
    return diou - v / (1 - iou + v + eps) * v


def test_ltrb_and_xyxy_are_inverse() -> None:
    xy, ltrb, _ = _pairs()
    boxes = ltrb_to_xyxy(xy, ltrb)
    assert torch.equal(boxes[:, 0], xy[:, 0] - ltrb[:, 0])
    assert torch.equal(boxes[:, 3], xy[:, 1] + ltrb[:, 3])
    torch.testing.assert_close(xyxy_to_ltrb(xy, boxes), ltrb)


def test_distances_of_a_point_outside_are_negative_on_that_side() -> None:
    ltrb = xyxy_to_ltrb(torch.tensor([1.0, 20.0]), torch.tensor([2.0, 3.0, 5.0, 7.0]))
    assert ltrb.tolist() == [-1, 17, 4, -13]


@pytest.mark.parametrize(
    ("ltrb", "expected"),
    [
        ([5.0, 7.0, 5.0, 7.0], 1.0),
        ([1.0, 1.0, 4.0, 1.0], 0.5),
        ([4.0, 1.0, 1.0, 9.0], 1 / 6),
        ([2.0, 8.0, 8.0, 2.0], 0.25),
    ],
)
def test_centerness_by_hand(ltrb: list[float], expected: float) -> None:
    assert centerness(torch.tensor(ltrb)).item() == pytest.approx(expected)


def test_centerness_does_not_know_left_from_right_or_units() -> None:
    _, ltrb, _ = _pairs()
    expected = centerness(ltrb)
    torch.testing.assert_close(centerness(ltrb[:, [2, 3, 0, 1]]), expected)
    torch.testing.assert_close(centerness(ltrb[:, [1, 0, 3, 2]]), expected)
    torch.testing.assert_close(centerness(ltrb / 8), expected)


@pytest.mark.parametrize(("last_pixel", "far"), [(False, (20.0, 10.0)), (True, (19.0, 9.0))])
def test_clip(last_pixel: bool, far: tuple[float, float]) -> None:
    boxes = torch.tensor([[-3.0, -4, 50, 60], [1, 2, 3, 4], [30, 40, 50, 60], [-9, -9, -1, -1]])
    clipped = clip_boxes(boxes, torch.tensor([10, 20]), last_pixel)
    assert clipped.tolist() == [[0, 0, *far], [1, 2, 3, 4], [*far, *far], [0, 0, 0, 0]]
    assert clipped.dtype == torch.float32


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_overlap_against_the_plain_formula(kind: IoUKind, offset: float) -> None:
    xy, predicted, target = _pairs()
    got = iou_of_ltrb(predicted, target, kind, offset)
    boxes = zip(
        ltrb_to_xyxy(xy, predicted).tolist(), ltrb_to_xyxy(xy, target).tolist(), strict=True
    )
    expected = [plain_overlap(p, t, kind, offset, 1e-7) for p, t in boxes]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=3e-7)


@pytest.mark.parametrize(
    ("kind", "torchvisions"),
    [
        ("giou", generalized_box_iou_loss),
        ("diou", distance_box_iou_loss),
        ("ciou", complete_box_iou_loss),
    ],
)
def test_overlap_and_its_gradient_are_torchvisions(kind: IoUKind, torchvisions: object) -> None:
    assert callable(torchvisions)
    xy, predicted, target = _pairs()
    predicted.requires_grad_()
    ours = 1 - iou_of_ltrb(predicted, target, kind)
    theirs = torchvisions(ltrb_to_xyxy(xy, predicted), ltrb_to_xyxy(xy, target), reduction="none")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    (our_gradient,) = torch.autograd.grad(ours.sum(), predicted)
    (their_gradient,) = torch.autograd.grad(theirs.sum(), predicted)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_enough(kind: IoUKind) -> None:
    _, predicted, target = _pairs()
    exact = iou_of_ltrb(predicted, target, kind)
    rounded = iou_of_ltrb(predicted.float(), target.float(), kind).double()
    torch.testing.assert_close(rounded, exact, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_boxes_overlap_by_one(kind: IoUKind) -> None:
    _, ltrb, _ = _pairs()
    for offset in (0.0, 1.0):
        overlap = iou_of_ltrb(ltrb, ltrb, kind, offset)
        torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_gradient_is_the_numerical_one(kind: IoUKind, offset: float) -> None:
    _, predicted, target = _pairs(20, seed=3)
    # Smooth only away from equal sides, where minimum and maximum change branch.
    assert (predicted - target).abs().min() > 1e-3
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: iou_of_ltrb(p, target, kind, offset), (predicted,))


def test_gradient_of_ciou_holds_its_weight_constant() -> None:
    _, predicted, target = _pairs(20, seed=3)
    predicted.requires_grad_()

    def aspect(ltrb: Tensor) -> Tensor:
        width, height = ltrb[:, 0] + ltrb[:, 2], ltrb[:, 1] + ltrb[:, 3]
        target_w, target_h = target[:, 0] + target[:, 2], target[:, 1] + target[:, 3]
        return 4 / math.pi**2 * ((target_w / target_h).atan() - (width / height).atan()) ** 2

    v = aspect(predicted).detach()
    weight = v / (1 - iou_of_ltrb(predicted, target).detach() + v)
    expected = iou_of_ltrb(predicted, target, "diou") - weight * aspect(predicted)
    got = iou_of_ltrb(predicted, target, "ciou")
    (expected_gradient,) = torch.autograd.grad(expected.sum(), predicted)
    (gradient,) = torch.autograd.grad(got.sum(), predicted)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_zero_distances_give_finite_values_and_gradients(kind: IoUKind, offset: float) -> None:
    # Every corner case of a ReLU: any subset of the four sides at zero, on either box.
    some = torch.tensor(list(itertools.product([0.0, 3.0], repeat=4)))
    predicted = some.repeat_interleave(len(some), dim=0).requires_grad_()
    target = some.repeat(len(some), 1)
    overlap = iou_of_ltrb(predicted, target, kind, offset)
    overlap.sum().backward()
    assert overlap.isfinite().all()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_a_box_without_length_still_learns() -> None:
    # ReLU gives distances of exactly 0; the official code's overlap has a gradient there.
    predicted = torch.zeros(1, 4, requires_grad=True)
    target = torch.full((1, 4), 2.0)
    iou_of_ltrb(predicted, target, "iou", 1.0).sum().backward()
    assert predicted.grad is not None
    # Of (0 + 1) / (16 + 0 - 0 + 1), no side matters while the other has no length.
    assert predicted.grad.tolist() == [[0.0] * 4]
    flat = torch.tensor([[0.0, 1.0, 0.0, 1.0]], requires_grad=True)
    iou_of_ltrb(flat, target, "iou", 1.0).sum().backward()
    # d/dl of (2 l + 1) / (16 + 2 l - 2 l + 1): both areas grow alike.
    assert flat.grad is not None
    assert flat.grad[0].tolist() == pytest.approx([2 / 17, 0.0, 2 / 17, 0.0])
