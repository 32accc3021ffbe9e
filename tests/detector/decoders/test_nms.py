"""Decoding against the official detections and against plain loops."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fcos_lightning.detector import decode, make_points
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points, Prediction

Row = tuple[list[float], float, int]


def random_prediction(seed: int, classes: int = 3) -> tuple[Prediction, Points, torch.Tensor]:
    points = make_points([(6, 8), (3, 4), (2, 2)], [8, 16, 32])
    generator = torch.Generator().manual_seed(seed)
    number = len(points.xy)
    prediction = Prediction(
        torch.randn(2, number, classes, generator=generator) * 2 - 1,
        torch.rand(2, number, 4, generator=generator) * 20 + 1,
        torch.randn(2, number, generator=generator) * 2,
    )
    return prediction, points, torch.tensor([[48, 64], [41, 50]])


def overlap(a: list[float], b: list[float], more: float = 0.0) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + more)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + more)
    areas = [(box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union else 0.0


def oracle(
    prediction: Prediction,
    points: Points,
    sizes_hw: torch.Tensor,
    score_threshold: float = 0.05,
    topk_per_level: int = 1000,
    nms_iou: float = 0.6,
    max_detections: int = 100,
    score: str = "sqrt",
    rank_by: str = "score",
    clip_to: str = "edge",
    nms_sides: str = "plain",
) -> list[list[Row]]:
    """Threshold, top-k of each level, clip, NMS of each class, the best: one number at a time."""
    images = []
    more = 1.0 if nms_sides == "inclusive" else 0.0
    for image, (height, width) in enumerate(sizes_hw.tolist()):
        far = [width, height] if clip_to == "edge" else [width - 1, height - 1]
        candidates: list[Row] = []
        first = 0
        for number in points.per_level:
            level: list[tuple[float, Row]] = []
            for point in range(first, first + number):
                x, y = points.xy[point].tolist()
                left, top, right, bottom = prediction.ltrb_px[image, point].tolist()
                corners = [x - left, y - top, x + right, y + bottom]
                box = [min(max(side, 0.0), far[i % 2]) for i, side in enumerate(corners)]
                quality = 1 / (1 + math.exp(-prediction.quality_logits[image, point].item()))
                for label, logit in enumerate(prediction.cls_logits[image, point].tolist()):
                    cls = 1 / (1 + math.exp(-logit))
                    if cls > score_threshold:
                        product = cls * quality
                        final = math.sqrt(product) if score == "sqrt" else product
                        rank = product if rank_by == "score" else cls
                        level.append((rank, (box, final, label)))
            level.sort(key=lambda entry: -entry[0])
            candidates += [row for _, row in level[:topk_per_level]]
            first += number
        kept: list[Row] = []
        for row in sorted(candidates, key=lambda row: -row[1]):
            if all(row[2] != k[2] or overlap(row[0], k[0], more) <= nms_iou for k in kept):
                kept.append(row)
        images.append(kept[:max_detections])
    return images


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score": "product"},
        {"rank_by": "class", "topk_per_level": 7},
        {"rank_by": "score", "topk_per_level": 7},
        {"score_threshold": 0.5},
        {"score_threshold": 0.0, "nms_iou": 0.3},
        {"max_detections": 5},
        {"nms_iou": 0.0, "clip_to": "last_pixel"},
        {"nms_sides": "inclusive"},
        {"nms_sides": "inclusive", "nms_iou": 0.3, "clip_to": "last_pixel"},
        {"nms_iou": 1.0, "topk_per_level": 1},
        {"score": "product", "rank_by": "class", "topk_per_level": 3, "max_detections": 4},
    ],
)
def test_against_plain_loops(options: dict[str, object]) -> None:
    for seed in range(3):
        prediction, points, sizes = random_prediction(seed)
        got = decode(prediction, points, sizes, **options)  # type: ignore[arg-type]
        expected = oracle(prediction, points, sizes, **options)  # type: ignore[arg-type]
        assert len(got) == len(expected) == 2
        for detections, rows in zip(got, expected, strict=True):
            assert detections.labels.tolist() == [row[2] for row in rows]
            boxes = torch.tensor([row[0] for row in rows]).reshape(-1, 4)
            torch.testing.assert_close(detections.boxes_xyxy, boxes, rtol=0, atol=1e-4)
            scores = torch.tensor([row[1] for row in rows])
            torch.testing.assert_close(detections.scores, scores, rtol=0, atol=1e-5)
            assert len(rows) > 0


def test_the_options_make_a_difference() -> None:
    # Otherwise the test above would let an ignored option through.
    prediction, points, sizes = random_prediction(0)
    base = decode(prediction, points, sizes)[0]
    for options in (
        {"score": "product"},
        {"topk_per_level": 7},
        {"nms_iou": 0.3},
        {"max_detections": 5},
        {"score_threshold": 0.5},
        {"clip_to": "last_pixel"},
        {"nms_sides": "inclusive"},
    ):
        other = decode(prediction, points, sizes, **options)[0]  # type: ignore[arg-type]
        same = len(other) == len(base) and torch.equal(other.scores, base.scores)
        assert not (same and torch.equal(other.boxes_xyxy, base.boxes_xyxy)), options
    by_class = decode(prediction, points, sizes, topk_per_level=7, rank_by="class")[0]
    by_score = decode(prediction, points, sizes, topk_per_level=7)[0]
    assert by_class.scores.tolist() != by_score.scores.tolist()


def test_the_official_detections(shared: Path) -> None:
    golden = torch.load(shared / "golden" / "official_fcos_imprv_R_50_FPN_1x.pt", weights_only=True)
    cls, ltrb, ctr = (
        torch.cat([level.flatten(2).transpose(1, 2) for level in golden[part]], dim=1)
        for part in ("cls", "reg", "ctr")
    )
    sizes = [tuple(level.shape[-2:]) for level in golden["cls"]]
    points = make_points(sizes, [8, 16, 32, 64, 128])
    images = torch.tensor([image.shape[-2:] for image in golden["images"]])
    got = decode(Prediction(cls, ltrb, ctr[..., 0]), points, images, clip_to="last_pixel")
    for detections, official in zip(got, golden["det"], strict=True):
        order = official["scores"].argsort(descending=True, stable=True)
        assert len(detections) == len(order) == 100
        torch.testing.assert_close(detections.scores, official["scores"][order], rtol=0, atol=1e-4)
        torch.testing.assert_close(
            detections.boxes_xyxy, official["boxes"][order], rtol=0, atol=0.02
        )
        # The official labels count from 1.
        assert torch.equal(detections.labels, official["labels"][order] - 1)


@pytest.mark.parametrize("threshold", [0.999999, 1, 1.0])
def test_nothing_above_the_threshold(threshold: float) -> None:
    prediction, points, sizes = random_prediction(0)
    for detections in decode(prediction, points, sizes, score_threshold=threshold):
        assert detections.boxes_xyxy.shape == (0, 4)
        assert detections.scores.shape == detections.labels.shape == (0,)
        assert detections.boxes_xyxy.dtype == detections.scores.dtype == torch.float32
        assert detections.labels.dtype == torch.int64


def test_a_probability_equal_to_the_threshold_is_not_above_it() -> None:
    points = make_points([(1, 2)], [8])
    prediction = Prediction(
        torch.tensor([[[0.0], [1e-3]]]), torch.full((1, 2, 4), 3.0), torch.zeros(1, 2)
    )
    (detections,) = decode(prediction, points, torch.tensor([[8, 16]]), score_threshold=0.5)
    assert detections.boxes_xyxy.tolist() == [[9, 1, 15, 7]]


def test_boxes_that_score_as_the_last_one_can_stay() -> None:
    points = make_points([(1, 4)], [8])
    # The second and third score alike.
    cls = torch.tensor([[[3.0], [2], [2], [1]]])
    prediction = Prediction(cls, torch.full((1, 4, 4), 3.0), torch.zeros(1, 4))
    size = torch.tensor([[8, 32]])
    for limit, expected in ((1, 1), (2, 3), (3, 3), (4, 4), (9, 4)):
        (kept,) = decode(prediction, points, size, max_detections=limit, keep_ties=True)
        assert len(kept) == expected
        (cut,) = decode(prediction, points, size, max_detections=limit)
        assert len(cut) == min(limit, 4)
    (none,) = decode(prediction, points, size, score_threshold=0.999, keep_ties=True)
    assert len(none) == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_a_threshold_that_is_no_probability(threshold: float) -> None:
    prediction, points, sizes = random_prediction(0)
    with pytest.raises(UserError, match=r"model\.decoder\.score_threshold"):
        decode(prediction, points, sizes, score_threshold=threshold)


def test_nms_keeps_equal_boxes_of_different_classes() -> None:
    points = make_points([(1, 2)], [8])
    # Both points describe the same box.
    ltrb = torch.tensor([[[4.0, 4, 12, 4], [12, 4, 4, 4]]])
    prediction = Prediction(torch.tensor([[[2.0, 1], [3, -9]]]), ltrb, torch.zeros(1, 2))
    (detections,) = decode(prediction, points, torch.tensor([[8, 16]]))
    assert detections.labels.tolist() == [0, 1]
    assert detections.boxes_xyxy.tolist() == [[0, 0, 16, 8]] * 2


def test_class_aware_far_beyond_the_size_of_the_image() -> None:
    # torchvision's NMS shifts classes apart by the largest coordinate: with 80 classes and large
    # images nothing may leak from one to another.
    points = make_points([(1, 1)], [8])
    classes = 80
    prediction = Prediction(
        torch.linspace(1, 3, classes).view(1, 1, classes),
        torch.full((1, 1, 4), 1300.0),
        torch.zeros(1, 1),
    )
    (detections,) = decode(prediction, points, torch.tensor([[1333, 1333]]))
    assert detections.labels.tolist() == list(reversed(range(classes)))


def test_low_precision_predictions_give_float32_detections() -> None:
    prediction, points, sizes = random_prediction(0)
    low = Prediction(
        prediction.cls_logits.bfloat16(), prediction.ltrb_px, prediction.quality_logits.bfloat16()
    )
    for detections in decode(low, points, sizes):
        assert detections.scores.dtype == detections.boxes_xyxy.dtype == torch.float32


def test_no_graph_is_kept() -> None:
    prediction, points, sizes = random_prediction(0)
    prediction.ltrb_px.requires_grad_()
    assert not decode(prediction, points, sizes)[0].boxes_xyxy.requires_grad


def test_inclusive_sides_matter_for_small_boxes_and_move_none() -> None:
    # 8 px wide and 2 px apart: 6/10 of plain sides, 7/11 of inclusive ones.
    points = make_points([(1, 2)], [2], offset=0.0)
    cls = torch.tensor([[[2.0], [1.0]]])
    prediction = Prediction(cls, torch.tensor([[[4.0, 4.0, 4.0, 4.0]] * 2]), torch.zeros(1, 2))
    size = torch.tensor([[100, 100]])
    options: dict[str, Any] = {"nms_iou": 0.62, "clip": "never"}
    (plain,) = decode(prediction, points, size, **options)
    (inclusive,) = decode(prediction, points, size, **options, nms_sides="inclusive")
    assert plain.boxes_xyxy.tolist() == [[-4.0, -4.0, 4.0, 4.0], [-2.0, -4.0, 6.0, 4.0]]
    assert inclusive.boxes_xyxy.tolist() == [[-4.0, -4.0, 4.0, 4.0]]
    # As many boxes as torchvision takes one class at a time, or all at once.
    for number in (20, 3000):
        generator = torch.Generator().manual_seed(number)
        many = Prediction(
            torch.rand(1, number, 2, generator=generator) * 4,
            torch.rand(1, number, 4, generator=generator) * 6 + 4,
            torch.zeros(1, number),
        )
        row = make_points([(1, number)], [2])
        wide = torch.tensor([[100, 2 * number]])
        for sides in ("plain", "inclusive"):
            chosen: dict[str, Any] = {"nms_sides": sides, "max_detections": 30}
            (found,) = decode(many, row, wide, **chosen)
            expected = oracle(many, row, wide, **chosen)[0]
            boxes = torch.tensor([box for box, _, _ in expected])
            torch.testing.assert_close(found.boxes_xyxy, boxes, rtol=0, atol=1e-3)
