"""Folded frozen BatchNorm against the two modules one after the other."""

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.detector import build_fcos
from fcos_lightning.layers.frozen import FoldedConv2d, fold_frozen_resnet


def nets(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, norm_layer=FrozenBatchNorm2d)
    for module in net.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.uniform_(0.5, 1.0)
            module.bias.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    folded = copy.deepcopy(net)
    fold_frozen_resnet(folded)
    return net, folded


def gradients(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(images).square().mean().backward()
    return {key: value.grad for key, value in net.named_parameters()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext101_32x8d"])
def test_outputs_and_gradients_stay_as_they_were(name: str) -> None:
    net, folded = nets(name)
    convolutions = [m for m in folded.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions and all(isinstance(m, FoldedConv2d) for m in convolutions)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(folded(images), net(images), rtol=1e-4, atol=1e-5)
    expected = gradients(net, images)
    for key, value in gradients(folded, images).items():
        error = (value - expected[key]).norm() / expected[key].norm()
        assert error < 1e-4, key


def test_weights_keep_their_names_and_are_shared_by_no_copy() -> None:
    net, folded = nets("resnet18")
    assert list(folded.state_dict()) == list(net.state_dict())
    assert [k for k, _ in folded.named_parameters()] == [k for k, _ in net.named_parameters()]
    images = torch.randn(1, 3, 64, 64)
    before = folded(images)
    other = copy.deepcopy(folded)
    other.bn1.running_mean += 1.0
    assert not torch.allclose(other(images), before)
    torch.testing.assert_close(folded(images), before, rtol=0, atol=0)


def test_loaded_statistics_take_effect() -> None:
    net, folded = nets("resnet18")
    net.layer1[0].bn1.weight.mul_(3.0)
    folded.load_state_dict(net.state_dict())
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(folded(images), net(images), rtol=1e-4, atol=1e-5)


def test_a_plain_convolution_does_the_same() -> None:
    _, folded = nets("resnet18")
    conv = folded.layer2[0].conv1
    features = torch.randn(1, 64, 9, 9)
    torch.testing.assert_close(conv.plain()(features), conv(features))


@pytest.mark.parametrize("stages", [[], [3, 4, 5]])
def test_a_detector_folds_what_is_frozen_and_leaves_what_is_not(stages: list[int]) -> None:
    frozen = build_fcos(
        num_classes=2, backbone={"name": "resnet50", "deformable_stages": stages}
    ).backbone
    folded = sum(isinstance(m, FoldedConv2d) for m in frozen.modules())
    assert folded == (40 if stages else 53)
    trained = build_fcos(num_classes=2, backbone={"name": "resnet18", "norm": "trained"}).backbone
    assert not any(isinstance(m, FoldedConv2d) for m in trained.modules())


def test_half_precision_stays_half() -> None:
    _, folded = nets("resnet18")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = folded.layer1(folded.relu(folded.bn1(folded.conv1(torch.randn(1, 3, 32, 32)))))
    assert features.dtype == torch.bfloat16
