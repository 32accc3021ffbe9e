"""Peaks of class maps against a plain loop, and what several views make of them."""

from __future__ import annotations

import pytest
import torch

from fcos_lightning.boxes import clip_boxes, ltrb_to_xyxy
from fcos_lightning.detector import Grid
from fcos_lightning.detector.decoders.centernet import PeakDecoder
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Detections, Prediction

SIZE = (24, 32)
POINTS = Grid((4,))(SIZE)
ROWS, COLUMNS = POINTS.feature_sizes[0]


def predicted(seed: int, classes: int = 3) -> Prediction:
    generator = torch.Generator().manual_seed(seed)
    number = len(POINTS.xy)
    logits = torch.randn(2, number, classes, generator=generator).mul(2).round()  # with plateaus
    return Prediction(logits, torch.randn(2, number, 4, generator=generator) * 6 + 4)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_fifty_images_as_a_plain_loop_has_them(kernel: int) -> None:
    sizes = torch.tensor([[24, 32], [15, 22]])
    decoder = PeakDecoder(score_threshold=0.3, max_detections=12, kernel=kernel)
    for seed in range(25):
        prediction = predicted(seed)
        for image, found in enumerate(decoder(prediction, POINTS, sizes)):
            logits = prediction.cls_logits[image].tolist()
            boxes = ltrb_to_xyxy(POINTS.xy, prediction.ltrb_px[image])
            boxes = clip_boxes(boxes, sizes[image])
            peaks = []
            for label in range(3):
                for row in range(ROWS):
                    for column in range(COLUMNS):
                        near = [
                            logits[r * COLUMNS + c][label]
                            for r in range(ROWS)
                            for c in range(COLUMNS)
                            if max(abs(r - row), abs(c - column)) <= kernel // 2
                        ]
                        point = row * COLUMNS + column
                        score = torch.tensor(logits[point][label]).sigmoid().item()
                        x1, y1, x2, y2 = boxes[point].tolist()
                        real = x2 > x1 and y2 > y1
                        if score > 0.3 and logits[point][label] == max(near) and real:
                            peaks.append((-score, label, point))
            wanted = sorted(peaks)[:12]
            assert found.labels.tolist() == [label for _, label, _ in wanted]
            assert found.scores.tolist() == pytest.approx([-score for score, _, _ in wanted])
            assert torch.equal(found.boxes_xyxy, boxes[[point for _, _, point in wanted]])


def test_neighbours_that_overlap_are_both_found_and_doubles_of_views_are_not() -> None:
    logits = torch.full((1, len(POINTS.xy), 1), -9.0)
    logits[0, [9, 11]] = torch.tensor([[2.0], [1.0]])  # a point between them
    prediction = Prediction(logits, torch.full((1, len(POINTS.xy), 4), 10.0))
    decoder, size = PeakDecoder(views_iou=0.7), torch.tensor([SIZE])
    (found,) = decoder(prediction, POINTS, size)
    assert len(found) == 2
    parts = (found.boxes_xyxy, found.scores, found.labels)
    twice = Detections(*(torch.cat([one, one]) for one in parts))
    again = decoder.best(twice, size[0])
    assert torch.equal(again.boxes_xyxy, found.boxes_xyxy)
    assert torch.equal(again.scores, found.scores)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_thresholds_at_the_ends(threshold: float) -> None:
    decoder = PeakDecoder(score_threshold=threshold)
    found = decoder(predicted(0), POINTS, torch.tensor([SIZE, SIZE]))
    assert all((len(one) > 0) == (threshold == 0) for one in found)


def test_anchors_are_refused() -> None:
    points = Grid((4,), anchor_scales=(2.0,), anchor_ratios=(1.0, 2.0))(SIZE)
    with pytest.raises(ValueError, match="one of a cell"):
        PeakDecoder()(predicted(0), points, torch.tensor([SIZE, SIZE]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.5}, r"give a number in \[0, 1\]"),
        ({"kernel": 2}, "give an odd number"),
        ({"kernel": -1}, "give an odd number"),
    ],
)
def test_options_without_a_meaning(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PeakDecoder(**options)  # type: ignore[arg-type]
