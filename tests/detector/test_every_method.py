"""What each method of ``conf/method/`` owes: any images, any boxes, any precision, any rank."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fcos_lightning import load_detector
from fcos_lightning.checkpoints import describe
from fcos_lightning.checkpoints.native import KEY
from fcos_lightning.detector import DenseDetector, for_inference
from fcos_lightning.inference import export_onnx
from fcos_lightning.inference.engines.onnx_runtime import OnnxDetector
from fcos_lightning.inference.views import detect_merged
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.structures import Images, Losses, Target, Targets, Totals, on_device

METHODS = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))
every_method = pytest.mark.parametrize("method", METHODS)

#: The tiny net, its statistics frozen so that no image depends on the others of its batch.
SMALL = (
    "model=tiny",
    "model.backbone.norm=frozen",
    "model.backbone.widths=[8,8,16,16]",
    "model.fpn.channels=16",
    "model.head.num_convs=1",
)


@cache
def built(method: str) -> DenseDetector:
    torch.manual_seed(0)
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = hydra.compose("train", [f"method={method}", *SMALL])
    detector = make(config, "model", class_names=("a", "b", "c"), category_ids=(1, 2, 3))
    assert isinstance(detector, DenseDetector)
    return detector


def detector_of(method: str) -> DenseDetector:
    """A detector of its own, to do with as one likes."""
    return copy.deepcopy(built(method)).train()


def noise(*sizes: tuple[int, int]) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *s), dtype=torch.uint8, generator=random) for s in sizes]


def targets_of(*counts: int, seed: int = 0) -> list[Target]:
    random = torch.Generator().manual_seed(seed)
    targets = []
    for count in counts:
        start = torch.rand(count, 2, generator=random) * 50
        sides = torch.rand(count, 2, generator=random) * 50 + 6
        labels = torch.randint(0, 3, (count,), generator=random)
        targets.append(Target(torch.cat([start, start + sides], dim=1), labels))
    return targets


def step(
    detector: DenseDetector, images: Images, targets: Sequence[Target] | Targets
) -> tuple[Losses, dict[str, Tensor]]:
    """The losses of a batch alone, and its part of what they are divided by."""
    points = detector.grid(images)
    prediction = detector(images)
    assignment = detector.assign(points, targets, prediction)
    losses = detector.loss(prediction, assignment, points)
    return losses, detector.loss.totals(assignment)


def gradients(detector: DenseDetector) -> dict[str, Tensor]:
    named = detector.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.requires_grad and p.grad is not None}


@every_method
@pytest.mark.parametrize(
    "counts", [(3, 0, 5), (0, 0, 0), (1, 1, 1), (40, 0, 2)], ids=lambda counts: f"boxes{counts}"
)
def test_any_number_of_boxes_gives_every_parameter_a_finite_gradient(
    method: str, counts: tuple[int, ...]
) -> None:
    detector = detector_of(method)
    images = detector.collate(noise((96, 120), (128, 64), (7, 5)))
    losses, _ = step(detector, images, targets_of(*counts))
    assert all(term.isfinite() and term.dtype == torch.float32 for term in losses.terms.values())
    assert losses.total > 0
    losses.total.backward()
    learning = [name for name, p in detector.named_parameters() if p.requires_grad]
    found = gradients(detector)
    assert set(found) == set(learning)
    assert all(one.isfinite().all() for one in found.values())
    assert any(one.any() for one in found.values())


@every_method
def test_boxes_of_no_size_and_outside_of_the_image_cost_nothing_but_background(
    method: str,
) -> None:
    detector = detector_of(method)
    images = detector.collate(noise((96, 96)))
    boxes = torch.tensor([[20.0, 20, 20, 20], [8, 30, 60, 30], [30, 8, 30, 60]])
    losses, _ = step(detector, images, [Target(boxes, torch.arange(3))])
    nothing, _ = step(detector, images, targets_of(0))
    torch.testing.assert_close(dict(losses.terms), dict(nothing.terms))
    far = Target(torch.tensor([[500.0, 500, 560, 540]]), torch.tensor([1]))
    losses, _ = step(detector, images, [far])
    assert losses.total.isfinite()
    losses.total.backward()
    assert all(one.isfinite().all() for one in gradients(detector).values())


@every_method
def test_inside_of_a_box_to_ignore_nothing_is_background(method: str) -> None:
    detector = detector_of(method)
    images = detector.collate(noise((96, 96)))
    everywhere = Target(
        torch.zeros(0, 4), torch.zeros(0).long(), torch.tensor([[-999.0, -999, 999, 999]])
    )
    losses, _ = step(detector, images, [everywhere])
    assert losses.total == 0
    losses.total.backward()
    assert not any(one.any() for one in gradients(detector).values())


@every_method
def test_padding_rows_change_nothing(method: str) -> None:
    detector = detector_of(method)
    images = detector.collate(noise((96, 96), (96, 96)))
    targets = targets_of(3, 1)
    plain = Targets.stack(targets)
    rows = Targets(
        torch.cat([plain.boxes_xyxy, torch.zeros(2, 4, 4)], dim=1),
        torch.cat([plain.labels, torch.full((2, 4), -1)], dim=1),
    )
    ours, _ = step(detector, images, rows)
    assert ours.terms == step(detector, images, targets)[0].terms


@every_method
def test_under_autocast_the_losses_are_float32_and_near(method: str) -> None:
    detector = detector_of(method)
    images = detector.collate(noise((96, 96), (64, 96)))
    points, prediction = detector.grid(images), detector(images)
    assignment = detector.assign(points, targets_of(3, 2), prediction)
    exact = detector.loss(prediction, assignment, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = detector(images)
        assert half.cls_logits.dtype == torch.bfloat16
        # The mapping may fall out otherwise where it looks at the prediction; it must not fail.
        its = detector.assign(points, targets_of(3, 2), half)
        found = detector.loss(half, assignment, points)
    assert its.ltrb_px.dtype == torch.float32
    assert its.weight is None or (its.weight.dtype == torch.float32 and its.weight.isfinite().all())
    for name, term in found.terms.items():
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, exact.terms[name], rtol=0.1, atol=0.02)
    found.total.backward()
    assert all(one.isfinite().all() for one in gradients(detector).values())


@every_method
def test_no_shape_depends_on_the_data_and_nothing_is_asked_of_the_device(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; a processor is not waited for, and may ask what it holds itself."""
    monkeypatch.setattr(on_device, "_KNOWN_AT_ONCE", ())
    with FakeTensorMode():
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = hydra.compose("train", [f"method={method}", *SMALL])
        detector = make(config, "model", class_names=("a", "b", "c"), category_ids=(1, 2, 3))
        images = Images(
            torch.zeros(2, 3, 128, 96, dtype=torch.uint8), torch.tensor([[128, 96], [90, 80]])
        )
        targets = Targets(torch.rand(2, 5, 4), torch.zeros(2, 5, dtype=torch.int64))
        losses, _ = step(detector.train(), images, targets)
        losses.total.backward()
    assert isinstance(losses.total, FakeTensor) and losses.total.shape == ()
    assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)


@every_method
def test_losses_of_all_rows_are_those_of_the_rows_that_count(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU works out all rows, a processor those alone that have a loss."""
    detector = detector_of(method)
    images, targets = detector.collate(noise((96, 96), (64, 96))), targets_of(3, 0)
    few, _ = step(detector, images, targets)
    few.total.backward()
    of_few = gradients(detector)
    detector.zero_grad()
    monkeypatch.setattr(on_device, "_KNOWN_AT_ONCE", ())
    every, _ = step(detector, images, targets)
    every.total.backward()
    assert all(term > 0 for term in few.terms.values())
    torch.testing.assert_close(dict(few.terms), dict(every.terms), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_few, gradients(detector), rtol=1e-4, atol=1e-6)


class _OnGpu(TorchDispatchMode):
    """Notes what makes a processor wait for a GPU: numbers read back, copies not deferred.

    And what CUDA lacks that a processor has, of what a step could want: reducing bool.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        deferred = (kwargs or {}).get("non_blocking") or (name == "copy_" and args[2:] == (True,))
        source = args[1] if name == "copy_" else args[0] if args else None
        copied = name in ("copy_", "_to_copy") and source.device.type != out.device.type
        if copied and not deferred:
            self.found.append(f"{name} from {source.device} to {out.device}")
        if name in ("_local_scalar_dense", "nonzero", "masked_select"):
            self.found.append(name)
        if name.startswith("scatter_reduce") and out.dtype == torch.bool:
            self.found.append(f"{name} of bool")
        return out


@every_method
def test_a_step_never_waits_for_a_gpu_and_asks_nothing_that_it_lacks(method: str) -> None:
    """On tensors without content, so that no GPU is needed; tests/gpu asks a real one."""
    gpu = torch.device("cuda")
    with FakeTensorMode():
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = hydra.compose("train", [f"method={method}", *SMALL])
        with gpu:
            detector = make(config, "model", class_names=("a", "b", "c"), category_ids=(1, 2, 3))
            pixels = torch.zeros(2, 3, 128, 96, dtype=torch.uint8)
            sizes = torch.zeros(2, 2, dtype=torch.int64)
            targets = Targets(torch.rand(2, 5, 4), torch.zeros(2, 5, dtype=torch.int64))
        with _OnGpu() as watched:
            losses, _ = step(detector.train(), Images(pixels, sizes), targets)
        assert losses.total.device.type == "cuda"
        assert watched.found == []
        with _OnGpu() as watched:  # which would have noticed
            torch.tensor([1.0], device=gpu)
            here = torch.zeros(2, dtype=torch.bool, device=gpu)
            here.scatter_reduce(0, torch.zeros(2, dtype=torch.int64, device=gpu), here, "amax")
        assert len(watched.found) == 2


class _LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation makes."""

    largest = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            # Views of what is there, and a row repeated without being copied, take no memory.
            if isinstance(one, Tensor):
                held = one.untyped_storage().nbytes() // one.element_size()
                self.largest = max(self.largest, min(one.numel(), held))
        return out


@every_method
def test_nothing_has_a_cell_for_each_point_box_and_class(method: str) -> None:
    """Mapping and losses hold no more than a cell for each point and box, or point and class."""
    detector = detector_of(method)
    boxes, classes = 24, 40
    images = Images(torch.zeros(1, 3, 128, 128, dtype=torch.uint8), torch.tensor([[128, 128]]))
    points, small = detector.grid(images), detector(images)
    logits = torch.randn(1, len(points.xy), classes, requires_grad=True)
    prediction = replace(small, cls_logits=logits)
    (target,) = targets_of(boxes)
    with _LargestTensor() as watched:
        assignment = detector.assign(points, [target], prediction)
        losses = detector.loss(prediction, assignment, points)
        losses.total.backward()
    assert watched.largest >= logits.numel()  # something was watched
    # Distances have 4 numbers, their distributions 17 each.
    per_point = max(boxes * 4, classes + 1, 4 * 17)
    slack = 4096 if len(points.xy) < 1000 else 0
    assert watched.largest <= len(points.xy) * per_point + slack
    assert watched.largest < len(points.xy) * boxes * classes


def whole_and_shares(method: str, ranks: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of four images on one device, and of as many devices as there are shares."""
    sizes, counts = [(96, 96)] * 4, (3, 0, 6, 1)
    one = detector_of(method)
    step(one, one.collate(noise(*sizes)), targets_of(*counts))[0].total.backward()

    several = detector_of(method)
    pixels, targets = noise(*sizes), targets_of(*counts)
    each = 4 // ranks
    shares = [slice(first, first + each) for first in range(0, 4, each)]
    batches = []
    for share in shares:
        images = several.collate(pixels[share])
        points, prediction = several.grid(images), several(images)
        assignment = several.assign(points, targets[share], prediction)
        batches.append((prediction, assignment, points))
    parts = [several.loss.totals(assignment) for _, assignment, _ in batches]
    sums = {name: torch.stack([part[name] for part in parts]).sum() for name in parts[0]}
    for batch in batches:
        (several.loss(*batch, Totals(sums, ranks)).total / ranks).backward()
    return gradients(one), gradients(several)


@every_method
@pytest.mark.parametrize("ranks", [2, 4])
def test_devices_that_share_a_step_have_the_gradients_of_one(method: str, ranks: int) -> None:
    wanted, found = whole_and_shares(method, ranks)
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        off = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-8)
        assert off <= 1e-4, name


@every_method
def test_a_checkpoint_makes_the_same_detector_again(method: str, tmp_path: Path) -> None:
    detector = detector_of(method).eval()
    file = tmp_path / "some.ckpt"
    torch.save({"state_dict": {f"detector.{k}": v for k, v in detector.state_dict().items()},
                KEY: describe(detector)}, file)  # fmt: skip
    again = load_detector(file)
    assert again.spec == detector.spec
    assert (again.assigner, again.loss, again.decoder) == (
        detector.assigner,
        detector.loss,
        detector.decoder,
    )
    images = noise((64, 96), (50, 33))
    assert torch.equal(again.predict(images).cls_logits, detector.predict(images).cls_logits)
    assert torch.equal(again.predict(images).ltrb_px, detector.predict(images).ltrb_px)


def finding(method: str) -> DenseDetector:
    """A detector whose head is lively enough to find something in noise."""
    detector = detector_of(method).eval()
    with torch.no_grad():
        for name, parameter in detector.head.named_parameters():
            if name.startswith("cls_logits"):
                parameter.normal_(std=0.2)
    return detector


@every_method
def test_views_of_an_image_are_merged(method: str) -> None:
    detector = finding(method)
    views = [detector.collate(noise(size)) for size in ((64, 96), (96, 144))]
    with torch.inference_mode():
        found = detect_merged(detector, views, torch.tensor([64, 96]))
    assert len(found) > 0 and found.boxes_xyxy.isfinite().all()
    assert (found.boxes_xyxy >= 0).all() and found.boxes_xyxy[:, 2].max() <= 96
    assert (found.scores.diff() <= 0).all()


@every_method
def test_the_copy_for_inference_finds_the_same(method: str) -> None:
    detector = finding(method)
    images = noise((64, 96), (40, 130), (9, 9))
    faster = for_inference(detector)
    for ours, theirs in zip(detector.detect(images), faster.detect(images), strict=True):
        assert len(ours) > 0 and torch.equal(ours.labels, theirs.labels)
        torch.testing.assert_close(ours.boxes_xyxy, theirs.boxes_xyxy, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_method
def test_onnx_runtime_finds_the_same(method: str) -> None:
    detector = finding(method)
    images = noise((64, 96), (40, 130))
    there = OnnxDetector(detector, export_onnx(detector))
    for ours, theirs in zip(detector.detect(images), there.detect(images), strict=True):
        assert len(ours) > 0 and torch.equal(ours.labels, theirs.labels)
        torch.testing.assert_close(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-5, rtol=1e-4)
