"""Decoding in steps of fixed shapes finds what the decoders find."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.inference.deployed.detectors import METHODS, lively, noise

from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.equality import Compared, check_same
from fcos_lightning.inference.deployed.pipeline import Pipeline

SIZES = ((128, 160), (97, 131), (64, 33), (7, 200), (1, 1))
#: Where the same steps are tried with many options.
FEW = ((65, 97), (64, 33))


def compared(detector: DenseDetector, sizes: Sequence[tuple[int, int]] = FEW) -> Compared:
    pipeline = Pipeline(detector)

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
        with torch.inference_mode():
            return tuple(output.numpy() for output in pipeline(torch.from_numpy(images)))

    return check_same(detector, run, noise(*sizes))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_same(method: str) -> None:
    same = compared(lively(method), SIZES)
    assert same.images == len(SIZES) and same.detections > 50
    assert same.box_px < 1e-3 and same.score < 1e-6


@pytest.mark.parametrize("method", ["fcos", "densebox", "retinanet", "ssd"])
@pytest.mark.parametrize(
    "options",
    [
        {"clip": "after_nms", "drop_empty": True, "clip_to": "last_pixel"},
        {"clip": "before_nms", "drop_empty": True},
        {"clip": "never", "nms_sides": "inclusive", "score": "product", "rank_by": "class"},
        {"threshold_on": "score", "topk_per_level": 7, "max_detections": 5},
        {"threshold_on": "score", "score_threshold": 0.3, "score": "product"},
        {"keep_ties": True, "max_detections": 3, "score_threshold": 0.0},
        {"max_detections": 100_000, "topk_per_level": 400, "nms_iou": 1.0},
        {"nms_iou": 0.0},
    ],
    ids=str,
)
def test_the_options_of_nms_are_kept(method: str, options: dict[str, object]) -> None:
    assert compared(lively(method, **options)).detections > 0


@pytest.mark.parametrize(
    "options",
    [
        {"clip_to": "last_pixel", "kernel": 5},
        {"score_threshold": 0.0, "max_detections": 5000},
        {"score_threshold": 0.6, "kernel": 1},
    ],
    ids=str,
)
def test_the_options_of_peaks_are_kept(options: dict[str, object]) -> None:
    assert compared(lively("centernet", **options)).detections > 0


@pytest.mark.parametrize("method", ["fcos", "ssd", "centernet"])
def test_nothing_found_is_no_row(method: str) -> None:
    detector = lively(method, score_threshold=1.0)
    assert compared(detector).detections == 0
    boxes, scores, labels = Pipeline(detector)(torch.zeros(2, 3, 40, 50, dtype=torch.uint8))
    assert boxes.shape == (2, 0, 4) and scores.shape == labels.shape == (2, 0)


def test_scores_that_tie_are_all_kept_where_they_should() -> None:
    detector = lively("fcos", keep_ties=True, max_detections=2)
    with torch.no_grad():
        detector.head.cls_logits.weight.zero_()
        detector.head.cls_logits.bias.fill_(2.0)
        detector.head.quality_logits.weight.zero_()
    (found,) = detector.detect([torch.zeros(3, 128, 160, dtype=torch.uint8)])
    assert len(found) > 2
    boxes, _, labels = Pipeline(detector)(torch.zeros(1, 3, 128, 160, dtype=torch.uint8))
    assert boxes.shape[1] == len(found)
    assert labels[0].bincount().tolist() == found.labels.bincount().tolist()


def test_images_padded_beyond_their_size_are_seen_so() -> None:
    detector = lively("fcos")
    detector.pad_beyond = True
    assert compared(detector).detections > 20


@dataclass(frozen=True)
class Own(NMSDecoder):
    """Somebody's own."""


def test_a_decoder_of_ones_own_is_refused() -> None:
    detector = lively("fcos")
    detector.decoder = Own()
    with pytest.raises(UserError, match=r"decoder is Own, .* give nms=false"):
        Pipeline(detector)
