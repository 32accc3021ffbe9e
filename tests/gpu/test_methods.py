"""Each method on a GPU: the numbers of the processor, and no waiting within a step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from tests.detector.test_every_method import (
    detector_of,
    every_method,
    finding,
    gradients,
    noise,
    step,
    targets_of,
)
from torch import Tensor

from fcos_lightning.detector import DenseDetector, for_inference
from fcos_lightning.structures import Detections, Images, Targets

pytestmark = pytest.mark.gpu

SIZES = ((96, 120), (128, 64), (7, 5))
COUNTS = (3, 0, 5)


@pytest.fixture(autouse=True)
def whole_float32() -> Iterator[None]:
    """Compare what is computed and not how exactly: convolutions round to ten bits by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def batch(detector: DenseDetector, device: torch.device) -> tuple[Images, Targets]:
    images = detector.collate(noise(*SIZES))
    return images.to(device), Targets.stack(targets_of(*COUNTS)).to(device)


def learnt(method: str, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    detector = detector_of(method).to(device)
    losses, _ = step(detector, *batch(detector, device))
    losses.total.backward()
    terms = {name: term.detach().cpu() for name, term in losses.terms.items()}
    return terms, {name: one.cpu() for name, one in gradients(detector).items()}


@contextmanager
def never_waiting(device: torch.device) -> Iterator[None]:
    """Any operation that makes the processor wait for the GPU raises."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every_method
def test_losses_and_gradients_are_those_of_the_processor(method: str, device: torch.device) -> None:
    terms, found = learnt(method, device)
    expected_terms, expected = learnt(method, torch.device("cpu"))
    for name, term in expected_terms.items():
        torch.testing.assert_close(terms[name], term, rtol=1e-4, atol=1e-6)
    assert found.keys() == expected.keys()
    largest = max(float(one.norm()) for one in expected.values())
    for name, one in expected.items():
        off = (found[name] - one).norm() / one.norm().clamp(min=1e-4 * largest)
        assert off <= 1e-3, name


@every_method
def test_detections_are_those_of_the_processor(method: str, device: torch.device) -> None:
    images = noise((64, 96), (40, 130), (9, 9))
    here = finding(method)
    there = copy.deepcopy(here).to(device)
    for model in (there, for_inference(there)):
        for ours, theirs in zip(
            model.detect([one.to(device) for one in images]),
            here.detect(images),
            strict=True,
        ):
            check_same(ours.to("cpu"), theirs)


def check_same(ours: Detections, theirs: Detections) -> None:
    """The same boxes, whatever the order of equal scores."""
    assert len(ours) == len(theirs) > 0
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-4, atol=1e-5)
    matched = torch.cdist(ours.boxes_xyxy, theirs.boxes_xyxy, p=float("inf"))
    matched[ours.labels[:, None] != theirs.labels[None]] = float("inf")
    assert matched.min(dim=1).values.max() < 1e-2 and matched.min(dim=0).values.max() < 1e-2


@every_method
def test_a_training_step_never_waits_for_the_device(method: str, device: torch.device) -> None:
    detector = detector_of(method).to(device)
    images, targets = batch(detector, device)
    step(detector, images, targets)[0].total.backward()  # what is made once
    with never_waiting(device):
        losses, _ = step(detector, images, targets)
        losses.total.backward()
    assert losses.total.isfinite()


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_under_autocast_the_losses_are_float32_and_near(
    method: str, dtype: torch.dtype, device: torch.device
) -> None:
    detector = detector_of(method).to(device)
    images, targets = batch(detector, device)
    points, prediction = detector.grid(images), detector(images)
    assignment = detector.assign(points, targets, prediction)
    exact = detector.loss(prediction, assignment, points)
    with torch.autocast(device.type, dtype=dtype):
        half = detector(images)
        found = detector.loss(half, assignment, points)
    for name, term in found.terms.items():
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, exact.terms[name], rtol=0.1, atol=0.02)
    found.total.backward()
    assert all(one.isfinite().all() for one in gradients(detector).values())
