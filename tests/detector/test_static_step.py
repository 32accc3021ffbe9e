"""The training step asks the device for nothing and has no shape that depends on the data."""

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)

from fcos_lightning import Target, build_fcos
from fcos_lightning.detector import FCOS
from fcos_lightning.structures import Images, Losses, Targets
from fcos_lightning.training.compiling import compile_detector


def small_detector(**options: object) -> FCOS:
    torch.manual_seed(0)
    return build_fcos(
        num_classes=3,
        backbone={"name": "resnet18"},
        fpn={"channels": 16},
        head={"num_convs": 1},
        **options,
    ).train()


def batch(height: int, width: int, boxes: int) -> tuple[Images, Targets]:
    generator = torch.Generator().manual_seed(height * width)
    pixels = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)
    sizes = torch.tensor([[height, width], [height - 9, width - 5]])
    one = torch.tensor([[5.0, 5.0, 60.0, 90.0]]) + torch.arange(boxes)[:, None]
    targets = [Target(one, torch.zeros(boxes, dtype=torch.int64))] * 2
    return Images(pixels, sizes), Targets.stack(targets)


def step(detector: FCOS, images: Images, targets: Targets) -> Losses:
    points = detector.grid(images)
    prediction = detector(images)
    return detector.loss(prediction, detector.assign(points, targets), points)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"assigner": {"center_radius": None}},
        {"loss": {"quality": "iou"}},
        {"loss": {"box_loss": "ciou", "box_weight": "none"}},
    ],
    ids=str,
)
def test_runs_without_data(options: dict[str, object]) -> None:
    # A fake tensor has a shape but no content: reading a number, or a shape that depends on one,
    # raises. On a GPU those are what makes the processor wait.
    with FakeTensorMode():
        detector = small_detector(**options)
        losses = step(detector, *batch(160, 192, 3))
        losses.total.backward()
    assert isinstance(losses.total, FakeTensor) and losses.total.shape == ()
    learning = [p for p in detector.parameters() if p.requires_grad]
    assert learning and all(p.grad is not None for p in learning)


def test_a_step_without_data_would_notice_a_look_at_them() -> None:
    with FakeTensorMode():
        images, targets = batch(160, 192, 3)
        detector = small_detector()
        assignment = detector.assign(detector.grid(images), targets)
        with pytest.raises(DynamicOutputShapeException):
            assignment.positive.nonzero()
        with pytest.raises(DataDependentOutputException):
            assignment.positive.sum().item()


def test_compiles_without_a_break_and_once_more_for_other_sizes() -> None:
    torch._dynamo.reset()
    detector = small_detector()
    plain = copy.deepcopy(detector)
    graphs = CompileCounter()
    compile_detector(detector, backend=graphs)
    counts = []
    for height, width, boxes in ((160, 192, 3), (256, 224, 5), (192, 288, 2), (320, 256, 9)):
        images, targets = batch(height, width, boxes)
        ours, expected = step(detector, images, targets), step(plain, images, targets)
        torch.testing.assert_close(ours.total, expected.total, rtol=1e-5, atol=1e-6)
        ours.total.backward()
        counts.append(graphs.frame_count)
    assert counts[0] == 3  # net, assignment, losses
    assert counts[1] == 4  # the net for sizes of any kind
    assert counts[-1] == 4  # which suits all further ones


def test_a_compiled_detector_keeps_its_names_and_can_be_copied() -> None:
    torch._dynamo.reset()
    detector = small_detector()
    names = list(detector.state_dict())
    compile_detector(detector, backend="eager")
    assert list(detector.state_dict()) == names
    images, targets = batch(160, 192, 3)
    expected = step(detector, images, targets).total
    torch.testing.assert_close(step(copy.deepcopy(detector), images, targets).total, expected)
