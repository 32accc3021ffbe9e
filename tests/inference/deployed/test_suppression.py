"""NMS of a batch, in torch and as ONNX Runtime does it, against a naive loop."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.ops import box_iou

from fcos_lightning.inference.deployed.suppression import (
    NONE,
    above,
    in_onnx,
    unsuppressed,
    unsuppressed_by_runtime,
)
from fcos_lightning.inference.engines.onnx_export import to_onnx

CLASSES, IOU = 3, 0.6


def candidates(seed: int, images: int = 2, number: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Crowded boxes, some without area, and some places without a candidate."""
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, number, 2, generator=random) * 60 - 10
    sides = torch.rand(images, number, 2, generator=random) * 40
    sides[:, ::9] = 0
    scores = torch.rand(images, number, generator=random)
    scores[:, 5::7] = NONE
    labels = torch.randint(0, CLASSES, (images, number), generator=random)
    return torch.cat([corner, corner + sides], dim=-1), scores, labels


def naive(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for image in range(len(boxes)):
        for row in scores[image].argsort(descending=True).tolist():
            better = kept[image] & (labels[image] == labels[image, row])
            overlap = box_iou(boxes[image, row : row + 1], boxes[image, better])
            kept[image, row] = scores[image, row] >= 0 and not bool((overlap > IOU).any())
    return kept


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_torch_leaves_what_a_loop_leaves(seed: int) -> None:
    given = candidates(seed)
    assert torch.equal(unsuppressed(*given, CLASSES, IOU, 60), naive(*given))


class _Alone(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Any:
        return unsuppressed_by_runtime(boxes, scores, labels, CLASSES, IOU, 60)


def test_onnx_runtime_leaves_what_a_loop_leaves() -> None:
    names = ("boxes", "scores", "labels")
    exported = to_onnx(
        _Alone(),
        candidates(0),
        names,
        ("kept",),
        ({0: "batch"},) * 3,
        {torch.ops.fcos_lightning.unsuppressed.default: in_onnx},
    )
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    for seed, images in ((1, 1), (2, 2), (3, 5)):
        given = candidates(seed, images)
        feed = {name: part.numpy() for name, part in zip(names, given, strict=True)}
        (kept,) = session.run(None, feed)
        assert kept.dtype == bool and np.array_equal(kept, naive(*given).numpy())
        feed["scores"] = np.full_like(feed["scores"], NONE)
        assert not session.run(None, feed)[0].any()


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.45, 0.5, 0.6, 0.7, 1.0])
def test_float32_compares_as_float64_does(iou: float) -> None:
    near = np.float32(iou)
    for value in (near, np.nextafter(near, np.float32(2)), np.nextafter(near, np.float32(-1))):
        assert (value > np.float32(above(iou))) == (float(value) > iou)
