"""Each method in use: any images, checkpoints, ONNX, the folded copy, several views."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from tests.detector.methods import METHODS, built
from torch import Tensor

from fcos_lightning.checkpoints import describe, load_detector
from fcos_lightning.detector import DenseDetector, for_inference
from fcos_lightning.inference import OnnxDetector, export_onnx
from fcos_lightning.inference.views import detect_merged
from fcos_lightning.structures import Detections, Images

pytestmark = pytest.mark.parametrize("method", METHODS)


def noise(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *one), dtype=torch.uint8, generator=generator) for one in sizes
    ]


def lively(method: str) -> DenseDetector:
    """One that finds something in noise, but not everything."""
    detector = built(method).eval()
    if method == "foveabox":
        torch.nn.init.constant_(detector.head.cls_logits.bias, -1.0)  # type: ignore[arg-type, union-attr]
    for _ in range(3):  # statistics that are not those of a fresh net
        detector.train()(detector.collate(noise((64, 96), (96, 64))))
    return detector.eval()


def assert_same(ours: list[Detections], theirs: list[Detections]) -> None:
    for mine, their in zip(ours, theirs, strict=True):
        assert len(mine) > 0 and torch.equal(mine.labels, their.labels)
        torch.testing.assert_close(mine.scores, their.scores, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(mine.boxes_xyxy, their.boxes_xyxy, rtol=1e-3, atol=1e-2)


def test_images_of_any_size(method: str) -> None:
    detector = lively(method)
    sizes = [(64, 96), (1, 1), (5, 7), (33, 95)]
    points = detector.grid((64, 96))
    prediction = detector.predict(noise(*sizes))
    assert prediction.cls_logits.shape == (4, len(points.xy), 3)
    assert prediction.ltrb_px.shape == (4, len(points.xy), 4)
    for found, (height, width) in zip(detector.detect(noise(*sizes)), sizes, strict=True):
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy[:, 0::2] <= width).all()
        assert (found.boxes_xyxy[:, 1::2] <= height).all()
        assert (found.scores.diff() <= 0).all()
        assert len(found) <= detector.decoder.max_detections  # type: ignore[attr-defined]


def test_nothing_found_is_an_ordinary_answer(method: str) -> None:
    spec = built(method).spec
    detector = built(method, decoder={**spec["decoder"], "score_threshold": 1.0})
    for found in detector.detect(noise((40, 50), (64, 64))):
        assert found.boxes_xyxy.shape == (0, 4) and found.labels.dtype == torch.int64


def test_a_checkpoint_gives_the_detector_back(method: str, tmp_path: Path) -> None:
    detector = lively(method)
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": weights, "fcos": describe(detector)}, tmp_path / "a.ckpt")
    again = load_detector(tmp_path / "a.ckpt")
    assert again.spec == detector.spec
    for part in ("grid", "assigner", "loss", "decoder"):
        assert getattr(again, part) == getattr(detector, part)
    images = noise((64, 96), (40, 50))
    ours, theirs = again.predict(images), detector.predict(images)
    assert type(ours) is type(theirs)
    for one in fields(ours):
        value = getattr(theirs, one.name)
        assert value is None or torch.equal(getattr(again.predict(images), one.name), value)


def test_onnx_says_the_same(method: str) -> None:
    detector = lively(method)
    onnx = OnnxDetector(detector, export_onnx(detector))
    images = noise((64, 96), (33, 95))
    assert_same(onnx.detect(images), detector.detect(images))


def test_the_folded_copy_finds_the_same(method: str) -> None:
    detector = lively(method)
    images = noise((64, 96), (40, 90))
    assert_same(for_inference(detector).detect(images), detector.detect(images))


def test_a_box_that_two_views_see_is_found_once(method: str) -> None:
    detector = lively(method)
    (image,) = noise((64, 96))
    view, size = Images.pad([image], 32), torch.tensor([64, 96])
    twice = detect_merged(detector, [view, view], size, flip=False)
    once = detect_merged(detector, [view], size, flip=False)
    assert len(once) > 0
    assert len(twice) == len(once)
    torch.testing.assert_close(twice.scores, once.scores)


def test_a_mirrored_view_counts_in_its_place(method: str) -> None:
    detector = lively(method)
    (image,) = noise((64, 96))
    size = torch.tensor([64, 96])
    ours = detect_merged(detector, [Images.pad([image], 32)], size)
    mirrored = detect_merged(detector, [Images.pad([image.flip(-1)], 32)], size)
    left, top, right, bottom = mirrored.boxes_xyxy.unbind(1)
    back = torch.stack([96 - right, top, 96 - left, bottom], dim=1)
    torch.testing.assert_close(mirrored.scores, ours.scores)
    order, other = (one[:, 0].argsort(stable=True) for one in (back, ours.boxes_xyxy))
    torch.testing.assert_close(back[order], ours.boxes_xyxy[other], rtol=1e-3, atol=1e-2)
