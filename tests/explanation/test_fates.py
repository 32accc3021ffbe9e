"""What becomes of candidates, against the decoders themselves and a naive NMS."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.explanation.scenes import METHODS, said, small_detector

from fcos_lightning.boxes import ltrb_to_xyxy
from fcos_lightning.detector.decoders.centernet import PeakDecoder
from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.detector.grid import Grid
from fcos_lightning.explanation.fates import BEYOND, CUT, EMPTY, KEPT, SUPPRESSED, fates_of
from fcos_lightning.structures import Images

SIZE = torch.tensor([90, 120])
POINTS = Grid((8, 16, 32))((96, 128))


def overlap(first: list[float], second: list[float]) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(wide, 0) * max(high, 0)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (first, second)]
    return shared / max(sum(areas) - shared, 1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score": "product", "threshold_on": "score", "topk_per_level": 20},
        {"clip": "after_nms", "drop_empty": True, "max_detections": 7},
        {"nms_sides": "inclusive", "clip_to": "last_pixel", "rank_by": "class"},
        {"clip": "never", "score": "class", "topk_per_level": 30, "max_detections": 12},
    ],
)
def test_what_is_kept_is_what_the_decoder_reports(options: dict, seed: int) -> None:
    decoder = NMSDecoder(
        **{"score_threshold": 0.3, "nms_iou": 0.4, "max_detections": 1000, **options}
    )
    prediction = said(len(POINTS.xy), 3, seed)
    fates = fates_of(decoder, prediction, POINTS, SIZE)
    assert fates is not None
    expected = decoder(prediction, POINTS, SIZE[None])[0]
    found = fates.detections()
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.boxes_xyxy, expected.boxes_xyxy)
    counts = torch.bincount(fates.fate, minlength=5)
    assert counts[SUPPRESSED] > 0
    assert bool(counts[CUT]) == ("topk_per_level" in options)
    assert bool(counts[BEYOND]) == ("max_detections" in options)


@pytest.mark.parametrize("seed", range(3))
def test_who_suppressed_whom_is_who_a_loop_finds(seed: int) -> None:
    decoder = NMSDecoder(score_threshold=0.4, nms_iou=0.35, max_detections=1000)
    prediction = said(len(POINTS.xy), 2, seed)
    fates = fates_of(decoder, prediction, POINTS, SIZE)
    assert fates is not None
    boxes = fates.boxes_xyxy[fates.point].tolist()
    kept: list[int] = []
    for row in range(len(fates.point)):
        by = next(
            (
                one
                for one in kept
                if fates.label[one] == fates.label[row] and overlap(boxes[one], boxes[row]) > 0.35
            ),
            -1,
        )
        assert int(fates.by[row]) == by
        assert int(fates.fate[row]) == (KEPT if by < 0 else SUPPRESSED)
        if by < 0:
            kept.append(row)
    assert 0 < len(kept) < len(boxes)


def test_scores_are_the_decoders_of_all_points_and_classes() -> None:
    prediction = said(len(POINTS.xy), 3, 5)
    fates = fates_of(NMSDecoder(score_threshold=0.9), prediction, POINTS, SIZE)
    assert fates is not None and prediction.quality_logits is not None
    quality = prediction.quality_logits[0, :, None].sigmoid()
    expected = (prediction.cls_logits[0].sigmoid() * quality).sqrt()
    assert torch.allclose(fates.scores, expected, atol=1e-6)
    raw = ltrb_to_xyxy(POINTS.xy, prediction.ltrb_px[0])
    assert torch.equal(fates.boxes_xyxy[:, 3], raw[:, 3].clamp(0, 90))


def test_peaks_outshine_their_neighbours() -> None:
    points = Grid((4,))((32, 48))
    prediction = said(len(points.xy), 2, 1)
    decoder = PeakDecoder(score_threshold=0.2, max_detections=9)
    fates = fates_of(decoder, prediction, points, torch.tensor([32, 48]))
    assert fates is not None
    expected = decoder(prediction, points, torch.tensor([[32, 48]]))[0]
    found = fates.detections()
    assert torch.equal(found.boxes_xyxy, expected.boxes_xyxy)
    assert torch.allclose(found.scores, expected.scores)
    gone = (fates.fate == SUPPRESSED).nonzero().squeeze(1)
    assert len(gone) > 10
    for row in gone.tolist():
        by = int(fates.by[row])
        assert fates.fate[by] in (KEPT, BEYOND, EMPTY)
        assert fates.label[by] == fates.label[row] and fates.score[by] > fates.score[row]
    one = replace(decoder, max_detections=1000)
    assert (fates_of(one, prediction, points, torch.tensor([32, 48])).fate != BEYOND).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("method", METHODS)
def test_every_methods_detections_are_explained(method: str) -> None:
    detector = small_detector(method)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
    images = Images.pad([pixels], detector.size_multiple)
    decoder = replace(detector.decoder, score_threshold=0.001)  # type: ignore[type-var]
    prediction, points = detector.predict([pixels]), detector.grid(images)
    fates = fates_of(decoder, prediction, points, images.sizes_hw[0])
    assert fates is not None
    expected = decoder(prediction, points, images.sizes_hw)[0]  # type: ignore[operator]
    assert len(expected) > 0
    assert torch.allclose(fates.detections().scores, expected.scores, atol=1e-6)
    assert torch.allclose(fates.detections().boxes_xyxy, expected.boxes_xyxy, atol=1e-4)
