"""SSD's losses and detections beside torchvision's own."""

from dataclasses import replace

import pytest
import torch
from tests.detector.assigners.scenes import scene
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.image_list import ImageList

from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.ssd import SSDAssigner
from fcos_lightning.detector.decoders.ssd import SSDDecoder, as_sigmoid
from fcos_lightning.detector.heads.retinanet import AnchorPrediction, ltrb_of
from fcos_lightning.detector.heads.ssd import OFFSET_UNITS
from fcos_lightning.detector.losses.mined import counted, mined_sum, plain_mined_sum
from fcos_lightning.detector.losses.ssd import BackgroundSoftmax, SSDLoss
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points, Prediction

SIZE = (64, 96)
GRID = Grid((8, 16), anchor_scales=(2.0,), anchor_ratios=(1.0, 0.5, 2.0), square_scales=(2.8284,))
CLASSES = 4


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    return ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES + 1)


def anchors_of(points: Points) -> torch.Tensor:
    assert points.size_wh is not None
    return torch.cat([points.xy - points.size_wh / 2, points.xy + points.size_wh / 2], dim=1)


def outputs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with the background first, and offsets in the head's units, as torchvision's."""
    generator = torch.Generator().manual_seed(seed + 1000)
    number = len(GRID(SIZE).xy)
    logits = torch.randn(2, number, CLASSES + 1, generator=generator)
    return logits.requires_grad_(), torch.randn(2, number, 4, generator=generator).requires_grad_()


def prediction_of(logits: torch.Tensor, raw: torch.Tensor, points: Points) -> AnchorPrediction:
    assert points.size_wh is not None
    offsets = raw * torch.tensor(OFFSET_UNITS)
    cls_logits = logits[..., 1:] - logits[..., :1]
    return AnchorPrediction(cls_logits, ltrb_of(offsets, points.size_wh), offsets=offsets)


def test_forty_scenes_lose_what_they_lose_in_torchvision(peer: torch.nn.Module) -> None:
    points = GRID(SIZE)
    number = 0
    for seed in range(40):
        targets, leaves = scene(seed, SIZE), outputs(seed)
        # torchvision has no logarithm of a side of 0.
        sides = [one.boxes_xyxy[:, 2:] - one.boxes_xyxy[:, :2] for one in targets]
        if any((one <= 0).any() for one in sides):
            continue
        assignment = SSDAssigner()(points, targets)
        if (assignment.positive.sum(dim=1) == 0).any():  # there they are not learnt from
            continue
        number += 1
        ours = SSDLoss()(prediction_of(*leaves, points), assignment, points)
        theirs = peer.compute_loss(
            [{"boxes": one.boxes_xyxy, "labels": one.labels + 1} for one in targets],
            {"cls_logits": leaves[0], "bbox_regression": leaves[1]},
            [anchors_of(points)] * 2,
            list(assignment.matched),
        )
        pairs = ((ours.terms["cls"], theirs["classification"]),
                 (ours.terms["box"], theirs["bbox_regression"]))  # fmt: skip
        for mine, their in pairs:
            torch.testing.assert_close(mine, their, rtol=1e-5, atol=1e-6)
        our_grads = torch.autograd.grad(ours.total, leaves, retain_graph=True)
        their_grads = torch.autograd.grad(sum(theirs.values()), leaves)
        for mine, their in zip(our_grads, their_grads, strict=True):
            torch.testing.assert_close(mine, their, rtol=1e-4, atol=1e-6)
    assert number >= 15


def test_ten_scenes_find_what_torchvision_finds(peer: torch.nn.Module) -> None:
    points = GRID(SIZE)
    peer.score_thresh, peer.topk_candidates, peer.detections_per_img = 0.3, 10**6, 50
    decoder = SSDDecoder(0.3, 10**6, peer.nms_thresh, 50, score="class")
    number = 0
    for seed in range(10):
        logits, raw = (one.detach() for one in outputs(seed))
        theirs = peer.postprocess_detections(
            {"cls_logits": logits, "bbox_regression": raw},
            [anchors_of(points)] * 2,
            ImageList(torch.zeros(2, 3, *SIZE), [SIZE, SIZE]).image_sizes,
        )
        found = decoder(prediction_of(logits, raw, points), points, torch.tensor([SIZE, SIZE]))
        for mine, their in zip(found, theirs, strict=True):
            number += len(mine)
            assert torch.equal(mine.labels + 1, their["labels"])
            torch.testing.assert_close(mine.scores, their["scores"], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(mine.boxes_xyxy, their["boxes"], rtol=1e-5, atol=1e-3)
    assert number > 100


def test_default_boxes_are_torchvisions_to_a_pixel() -> None:
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

    sizes = [16 / 96, 32 / 96, 64 / 96]
    generator = DefaultBoxGenerator([[2], [2]], scales=sizes, steps=[8, 16], clip=False)
    square = ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)])
    (theirs,) = generator(square, [torch.zeros(1, 1, 12, 12), torch.zeros(1, 1, 6, 6)])
    ours = anchors_of(GRID((96, 96))).view(-1, 4, 4)
    # There: the square, the larger one, wide, high.
    torch.testing.assert_close(ours[:, [0, 3, 1, 2]], theirs.view(-1, 4, 4), rtol=0, atol=1.0)


def test_the_sigmoid_of_the_logits_is_the_softmax() -> None:
    logits = torch.randn(50, 5) * 8
    softmax = torch.cat([torch.zeros(50, 1), logits], dim=1).softmax(dim=1)[:, 1:]
    torch.testing.assert_close(as_sigmoid(logits).sigmoid(), softmax, rtol=1e-5, atol=1e-7)
    sure = as_sigmoid(torch.tensor([[400.0, -400.0]]))
    assert sure.isfinite().all() and sure.sigmoid().tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("negatives", [0.0, 1.0, 2.5, 1e6])
def test_mined_points_against_a_sort(negatives: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for round_ in range(30):
        losses = (torch.rand(3, 40, generator=generator) * 6).round() / 3  # many equal, some 0
        labels = torch.where(torch.rand(3, 40, generator=generator) < 0.1, 1, -1)
        labels[round_ % 3] = -1
        ignored = torch.rand(3, 40, generator=generator) < 0.2
        kept = counted(losses, labels, negatives, ignored)
        for image in range(3):
            positive = (labels[image] >= 0).tolist()
            order = sorted(
                (p for p in range(40) if not positive[p] and not ignored[image, p]),
                key=lambda p, image=image: (-losses[image, p].item(), p),  # type: ignore[misc]
            )
            chosen = set(order[: int(max(sum(positive), 1) * negatives)])
            wanted = [positive[p] or p in chosen for p in range(40)]
            assert kept[image].tolist() == wanted


def test_the_gradient_is_the_one_that_torch_derives() -> None:
    for seed in range(5):
        logits = outputs(seed)[0].detach()[..., :CLASSES].requires_grad_()
        labels = SSDAssigner()(GRID(SIZE), scene(seed, SIZE)).labels
        ours = mined_sum(BackgroundSoftmax(), logits, labels, 3.0)
        theirs = plain_mined_sum(BackgroundSoftmax(), logits, labels, 3.0)
        torch.testing.assert_close(ours, theirs)
        grads = [torch.autograd.grad(one / 7, logits)[0] for one in (ours, theirs)]
        torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-7)


def test_ignored_anchors_are_not_mined() -> None:
    points = GRID(SIZE)
    prediction = prediction_of(*outputs(1), points)
    assignment = SSDAssigner()(points, scene(1, SIZE))
    ignored = ~assignment.positive
    ignored[:, ::7] = False
    leaf = prediction.cls_logits.detach().requires_grad_()
    prediction = replace(prediction, cls_logits=leaf)
    losses = SSDLoss()(prediction, replace(assignment, ignored=ignored), points)
    (slope,) = torch.autograd.grad(losses.terms["cls"], leaf)
    looked_at = (slope != 0).any(dim=-1)
    assert not (looked_at & ignored & ~assignment.positive).any()
    assert looked_at.sum() > assignment.positive.sum()


def test_another_head_is_refused() -> None:
    points = GRID(SIZE)
    one = prediction_of(*outputs(0), points)
    assignment = SSDAssigner()(points, scene(0, SIZE))
    with pytest.raises(ValueError, match="needs the head ssd"):
        SSDLoss()(Prediction(one.cls_logits, one.ltrb_px), assignment, points)


@pytest.mark.parametrize(
    ("option", "message"), [("negatives", "give 0 or more"), ("beta", "above 0")]
)
def test_options_without_a_meaning(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SSDLoss(**{option: -1.0})
