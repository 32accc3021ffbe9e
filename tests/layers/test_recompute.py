"""Maps worked out twice give the same losses and gradients as maps that were kept."""

import copy

import pytest
import torch
from torch import Tensor

from fcos_lightning import Target, build_fcos
from fcos_lightning.detector import FCOS
from fcos_lightning.layers.recompute import recompute_activations
from fcos_lightning.structures import Images, Targets


def losses_and_gradients(detector: FCOS) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.tensor([[96, 128], [90, 100]]))
    targets = Targets.stack([Target(torch.tensor([[5.0, 5, 60, 70]]), torch.tensor([0]))] * 2)
    points = detector.grid(images)
    losses = detector.loss(detector(images), detector.assign(points, targets), points)
    detector.zero_grad()
    losses.total.backward()
    gradients = {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}
    return losses.total.detach(), gradients


def kept_for_backward(detector: FCOS) -> int:
    """Bytes that a forward pass keeps."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    pixels = torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        prediction = detector(Images(pixels, torch.tensor([[128, 128]] * 2)))
    del prediction
    return sum(kept.values())


@pytest.mark.parametrize(
    ("backbone", "parts"),
    [
        (
            {"name": "resnet18"},
            ["backbone.stages.2", "backbone.stages.3", "backbone.stages.4", "head"],
        ),
        ({"name": "mobilenet_v2", "norm": "trained"}, ["head"]),
        ({"name": "timm/resnet18", "frozen_stages": 0}, ["backbone", "head"]),
    ],
    ids=str,
)
def test_gradients_stay_as_they_were(backbone: dict[str, object], parts: list[str]) -> None:
    torch.manual_seed(0)
    detector = build_fcos(num_classes=2, backbone=backbone, fpn={"channels": 32}).train()
    other = copy.deepcopy(detector)
    assert recompute_activations(other) == parts
    expected, expected_gradients = losses_and_gradients(detector)
    total, gradients = losses_and_gradients(other)
    torch.testing.assert_close(total, expected)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-6)
    for key, value in detector.named_buffers():  # statistics moved once, not twice
        torch.testing.assert_close(dict(other.named_buffers())[key], value)


def test_less_is_kept_for_the_way_back() -> None:
    torch.manual_seed(0)
    detector = build_fcos(num_classes=2, backbone={"name": "resnet18"}).train()
    everything = kept_for_backward(detector)
    recompute_activations(detector)
    assert kept_for_backward(detector) < 0.6 * everything


def test_evaluation_computes_once() -> None:
    torch.manual_seed(0)
    detector = build_fcos(num_classes=2, backbone={"name": "resnet18"}).eval()
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    expected = detector.predict([image])
    recompute_activations(detector)
    calls = []
    detector.backbone.stages[4].register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(detector.predict([image]).cls_logits, expected.cls_logits)
    assert len(calls) == 1
