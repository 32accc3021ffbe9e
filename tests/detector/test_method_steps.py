"""Steps of methods: that they learn, and compiled or with less memory are the same."""

from __future__ import annotations

import pytest
import torch
from tests.detector.test_every_method import detector_of, gradients, noise, step, targets_of
from torch._dynamo.testing import CompileCounter

from fcos_lightning.boxes import iou_of_ltrb
from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.assigners.atss import ATSSAssigner
from fcos_lightning.detector.losses.quality_focal import QualityFocalLoss
from fcos_lightning.layers.recompute import recompute_activations
from fcos_lightning.structures import Images, Targets
from fcos_lightning.training.compiling import compile_detector

#: Those that have parts of their own, beside FCOS and RetinaNet.
METHODS = ("atss", "gfl", "tal", "dsla", "foveabox", "centernet", "densebox", "ssd")
pytestmark = pytest.mark.parametrize("method", METHODS)

SIZES = ((96, 96), (96, 64))
COUNTS = (5, 3)


def fit_of(detector: DenseDetector, images: Images) -> float:
    """How much the boxes of the points that ATSS would choose overlap the true ones."""
    if detector.grid.per_cell > 1:
        return 0.0
    with torch.no_grad():
        predicted = detector(images).ltrb_px
        wanted = ATSSAssigner()(detector.grid(images), targets_of(*COUNTS))
    chosen = wanted.positive
    return float(iou_of_ltrb(predicted[chosen], wanted.ltrb_px[chosen]).mean())


def test_steps_lower_the_loss_and_move_every_weight(method: str) -> None:
    detector = detector_of(method)
    images = detector.collate(noise(*SIZES))
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    losses, before = [], fit_of(detector, images)
    for _ in range(15):
        loss = step(detector, images, targets_of(*COUNTS))[0].total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if isinstance(detector.loss, QualityFocalLoss):
        # What is asked of a class, and what divides, rise with how well boxes fit.
        assert fit_of(detector, images) > 1.1 * before
    else:
        assert losses[-1] < 0.8 * losses[0]
    # On a level of its own without a positive, SSD's boxes learn nothing.
    still = {name for name, slope in gradients(detector).items() if (slope == 0).all()}
    assert all("head.box_offsets" in name for name in still)


def test_a_compiled_step_loses_the_same(method: str) -> None:
    torch._dynamo.reset()
    detector, plain = detector_of(method), detector_of(method)
    compile_detector(detector, backend=CompileCounter())
    images, targets = plain.collate(noise(*SIZES)), Targets.stack(targets_of(*COUNTS))
    ours, expected = (step(one, images, targets)[0] for one in (detector, plain))
    for name, term in expected.terms.items():
        torch.testing.assert_close(ours.terms[name], term, rtol=1e-4, atol=1e-6)
    ours.total.backward()
    expected.total.backward()
    found = gradients(detector)
    for name, slope in gradients(plain).items():
        torch.testing.assert_close(found[name], slope, rtol=1e-3, atol=1e-5)


def test_recomputed_activations_have_the_same_gradients(method: str) -> None:
    plain, saving = detector_of(method), detector_of(method)
    assert "head" in recompute_activations(saving)
    for detector in (plain, saving):
        step(detector, detector.collate(noise(*SIZES)), targets_of(*COUNTS))[0].total.backward()
    found = gradients(saving)
    for name, slope in gradients(plain).items():
        assert torch.equal(found[name], slope), name
