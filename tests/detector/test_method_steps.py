"""A training step of each method: odd batches, half precision, shards, memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.detector.methods import METHODS, built
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fcos_lightning import Target
from fcos_lightning.detector import DenseDetector
from fcos_lightning.layers.recompute import recompute_activations
from fcos_lightning.structures import Images, Losses, Targets, Totals
from fcos_lightning.training.compiling import compile_detector

pytestmark = pytest.mark.parametrize("method", METHODS)


def pictures(count: int, height: int = 64, width: int = 96) -> Images:
    generator = torch.Generator().manual_seed(height)
    pixels = torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator
    )
    return Images(pixels, torch.tensor([[height, width]] * count))


def targets_of(*boxes: list[list[float]]) -> list[Target]:
    return [Target(torch.tensor(one).reshape(-1, 4), torch.arange(len(one)) % 3) for one in boxes]


FOUR = targets_of(
    [[4, 6, 40, 50], [30, 20, 90, 60], [8, 8, 20, 18]],
    [],
    [[50, 10, 70, 40]],
    [[0, 0, 96, 64], [10, 30, 26, 60], [60, 2, 90, 30], [61, 3, 89, 30]],
)


def step(
    detector: DenseDetector, images: Images, targets: Any, totals: Totals | None = None
) -> Losses:
    points = detector.grid(images)
    prediction = detector(images)
    return detector.loss(prediction, detector.assign(points, targets, prediction), points, totals)


def gradients(detector: DenseDetector) -> dict[str, Tensor]:
    found = {name: parameter.grad for name, parameter in detector.named_parameters()}
    assert all(value is not None for value in found.values())
    return {name: value for name, value in found.items() if value is not None}


def test_steps_lower_the_loss_and_move_every_weight(method: str) -> None:
    detector = built(method).train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = step(detector, pictures(4), FOUR).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    slopes = gradients(detector)
    assert all(value.isfinite().all() for value in slopes.values())
    # On a level of its own without a positive, SSD's boxes learn nothing.
    still = {name for name, value in slopes.items() if (value == 0).all()}
    assert all("head.box_offsets" in name for name in still)


def test_images_without_any_box_give_every_weight_a_gradient(method: str) -> None:
    detector = built(method).train()
    losses = step(detector, pictures(2), targets_of([], []))
    losses.total.backward()
    assert all(value.isfinite().all() for value in gradients(detector).values())
    # Without positives, mined background is none.
    alone = {name: term.item() for name, term in losses.terms.items() if name != "cls"}
    assert set(alone.values()) == {0.0}
    assert (losses.terms["cls"].item() > 0) == (method in ("foveabox", "centernet"))


def test_boxes_of_no_size_or_far_outside_are_no_trouble(method: str) -> None:
    odd = targets_of(
        [[10, 10, 10, 10], [20, 5, 20, 40], [5, 20, 40, 20]],
        [[-500, -500, 900, 900], [-90, -90, -50, -50], [1000, 1000, 1001, 1001], [3, 3, 3.01, 50]],
    )
    detector = built(method).train()
    losses = step(detector, pictures(2), odd)
    losses.total.backward()
    assert losses.total.isfinite()
    assert all(value.isfinite().all() for value in gradients(detector).values())
    assignment = detector.assign(detector.grid((64, 96)), odd)
    assert not assignment.positive[0].any()


def test_half_precision(method: str) -> None:
    detector = built(method).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = step(detector, pictures(4), FOUR)
    assert all(term.dtype == torch.float32 for term in losses.terms.values())
    plain = step(detector, pictures(4), FOUR)
    for name, term in losses.terms.items():
        assert term.item() == pytest.approx(plain.terms[name].item(), rel=0.1), name
    losses.total.backward()
    assert all(value.isfinite().all() for value in gradients(detector).values())


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_have_the_gradients_of_one_batch(method: str, shards: int) -> None:
    """As ranks and accumulated batches: each divides by its share of the sums of all."""
    whole, parts = (built(method, norm="frozen").train() for _ in range(2))
    images = pictures(4)
    step(whole, images, FOUR).total.backward()
    points = parts.grid(images)
    rows = [slice(first, first + 4 // shards) for first in range(0, 4, 4 // shards)]
    each = [parts.loss.totals(parts.assign(points, FOUR[some])) for some in rows]
    sums = {name: torch.stack([one[name] for one in each]).sum() for name in each[0]}
    for some in rows:
        shard = Images(images.pixels[some], images.sizes_hw[some])
        (step(parts, shard, FOUR[some], Totals(sums, shards)).total / shards).backward()
    expected, found = gradients(whole), gradients(parts)
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 1e-5 * value.norm().clamp(min=1e-7), name


def test_a_step_asks_nothing_of_the_device(method: str) -> None:
    # A fake tensor has a shape but no content: reading a number, or a shape that depends on one,
    # raises.
    with FakeTensorMode():
        detector = built(method).train()
        boxes = torch.tensor([[5.0, 5.0, 60.0, 60.0]]) + torch.arange(3)[:, None]
        targets = Targets.stack([Target(boxes, torch.zeros(3, dtype=torch.int64))] * 2)
        losses = step(detector, pictures(2), targets)
        losses.total.backward()
    assert isinstance(losses.total, FakeTensor) and losses.total.shape == ()
    gradients(detector)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest result of any operation has."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


def test_nothing_has_a_number_for_each_point_box_and_class(method: str) -> None:
    classes, boxes, size = 60, 60, (96, 128)
    detector = built(method, class_names=None, num_classes=classes).train()
    images = pictures(2, *size)
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(boxes, 2, generator=generator) * 60
    xyxy = torch.cat([start, start + 4 + torch.rand(boxes, 2, generator=generator) * 50], dim=1)
    targets = Targets.stack([Target(xyxy, torch.arange(boxes) % classes)] * 2)
    points = detector.grid(images)
    prediction = detector(images)
    with Largest() as largest:
        assignment = detector.assign(points, targets)
        detector.loss(prediction, assignment, points).total.backward()
    count = 2 * len(points.xy)
    # A plane for padding beside the classes, and the boxes of an image with all of its points.
    assert count * classes <= largest.numbers <= count * (max(classes, boxes) + 1)


def test_a_compiled_step_loses_the_same(method: str) -> None:
    torch._dynamo.reset()
    detector, plain = built(method).train(), built(method).train()
    compile_detector(detector, backend=CompileCounter())
    ours, expected = (step(one, pictures(4), Targets.stack(FOUR)) for one in (detector, plain))
    for name, term in expected.terms.items():
        torch.testing.assert_close(ours.terms[name], term, rtol=1e-4, atol=1e-6)
    ours.total.backward()
    expected.total.backward()
    theirs = gradients(plain)
    for name, value in detector.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(value.grad, theirs[name], rtol=1e-3, atol=1e-5)


def test_recomputed_activations_have_the_same_gradients(method: str) -> None:
    plain, saving = (built(method, norm="frozen").train() for _ in range(2))
    assert "head" in recompute_activations(saving)
    for detector in (plain, saving):
        step(detector, pictures(4), FOUR).total.backward()
    found = gradients(saving)
    for name, value in gradients(plain).items():
        assert torch.equal(found[name], value), name
