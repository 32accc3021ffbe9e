"""ReLU6 that keeps its output only, against torch's."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from fcos_lightning.detector import build_fcos
from fcos_lightning.inference.folded import fold_batchnorm
from fcos_lightning.layers.relu6 import ThriftyReLU6, replace_relu6

EDGES = [-torch.inf, -1.0, -0.0, 0.0, 1e-30, 3.0, 5.9999995, 6.0, 6.0000005, 7.0, torch.inf]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_those_of_torch(dtype: torch.dtype) -> None:
    source = torch.tensor(EDGES, dtype=dtype, requires_grad=True)
    expected = nn.functional.relu6(source)
    (slope,) = torch.autograd.grad(expected.sum() * 3, source)
    # Not a leaf: those cannot be overwritten.
    found = ThriftyReLU6()(source * 1)
    (own,) = torch.autograd.grad(found.sum() * 3, source)
    assert torch.equal(found, expected)
    assert torch.equal(own, slope)


def test_works_where_it_stands_and_keeps_one_map() -> None:
    source = torch.randn(1000, requires_grad=True)
    before = source * 2
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda kept_one: kept.append(kept_one.data_ptr()) or kept_one, lambda kept_one: kept_one
    ):
        after = ThriftyReLU6()(before)
    assert after.data_ptr() == before.data_ptr()
    assert kept == [before.data_ptr()]


def test_a_net_learns_the_same_to_the_bit() -> None:
    torch.manual_seed(0)
    plain = torchvision.models.mobilenet_v2().train()
    thrifty = copy.deepcopy(plain)
    replace_relu6(thrifty)
    assert sum(isinstance(module, ThriftyReLU6) for module in thrifty.modules()) == 35
    for net in (plain, thrifty):
        torch.manual_seed(1)
        net(torch.randn(2, 3, 64, 64)).square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    with torch.no_grad():
        images = torch.randn(2, 3, 64, 64)
        assert torch.equal(plain.eval()(images), thrifty.eval()(images))


def test_the_detector_has_it_and_still_folds_and_compiles() -> None:
    detector = build_fcos(
        num_classes=2, backbone={"name": "mobilenet_v2", "norm": "trained"}, fpn={"channels": 16}
    )
    backbone = detector.backbone.eval()
    assert sum(isinstance(module, ThriftyReLU6) for module in backbone.modules()) == 34
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    expected = [one.detach().clone() for one in backbone(images)]
    torch.compiler.reset()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    for found, plain in zip(compiled(images), expected, strict=True):
        torch.testing.assert_close(found, plain)
    folded = copy.deepcopy(backbone).requires_grad_(False)
    assert fold_batchnorm(folded) == 51
    for found, plain in zip(folded(images.detach()), expected, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-4)
