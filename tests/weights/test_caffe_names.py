"""Backbones in Caffe2's and detectron2's layouts give the maps of the net they were made of."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from fcos_lightning.detector import build_backbone
from fcos_lightning.errors import UserError
from fcos_lightning.weights.caffe_names import torchvision_names

BRANCHES = {"conv1": "2a", "conv2": "2b", "conv3": "2c", "bn1": "2a", "bn2": "2b", "bn3": "2c"}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    made = torchvision.models.resnet50(weights=None).eval()
    with torch.no_grad():
        for key, value in made.state_dict().items():
            if key.endswith("running_mean"):
                value.normal_(std=0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.8, 1.2)
    return made


def named(key: str, layout: str) -> str:
    """Return a key of torchvision's in a layout, by hand and the other way round."""
    caffe = layout == "caffe2"
    leaf = key.rsplit(".", 1)[1]
    is_norm = "bn" in key or "downsample.1" in key
    if caffe:
        short = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
        end = f"bn_{short[leaf]}" if is_norm else {"weight": "w", "bias": "b"}[leaf]
    else:
        end = f"norm.{leaf}" if is_norm else leaf
    if key.startswith("fc."):
        return f"fc1000_{end}" if caffe else f"stem.fc.{leaf}"
    match = re.match(r"layer(\d)\.(\d+)\.(\w+)", key)
    if match is None:
        stem = ("res_conv1" if is_norm else "conv1") if caffe else "stem.conv1"
        return f"{stem}_{end}" if caffe else f"{stem}.{end}"
    stage, block, place = int(match[1]) + 1, match[2], match[3]
    if caffe:
        return f"res{stage}_{block}_branch{BRANCHES.get(place, '1')}_{end}"
    place = "shortcut" if place == "downsample" else place.replace("bn", "conv")
    return f"res{stage}.{block}.{place}.{end}"


def in_layout(net: nn.Module, layout: str, folded: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights as such a file holds them; folded: scales and shifts alone."""
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    if folded:
        for key in [k for k in state if k.endswith("running_mean")]:
            norm = key.removesuffix(".running_mean")
            mean, variance = state.pop(key), state.pop(f"{norm}.running_var")
            scale = state[f"{norm}.weight"] / (variance + 1e-5).sqrt()
            state[f"{norm}.bias"] = state[f"{norm}.bias"] - mean * scale
            state[f"{norm}.weight"] = scale
        # MSRA's files have a bias in the first convolution.
        state["conv1.bias"] = torch.linspace(-1, 1, 64)
        state["bn1.bias"] = state["bn1.bias"] - state["bn1.weight"] * state["conv1.bias"]
    return {named(key, layout): value.numpy() for key, value in state.items()}


def maps_of(net: Any, images: Tensor) -> list[Tensor]:
    y = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images)))))
    c3 = net.layer2(y)
    c4 = net.layer3(c3)
    return [c3, c4, net.layer4(c4)]


@pytest.mark.parametrize("norm", ["frozen", "trained"])
@pytest.mark.parametrize("layout", ["caffe2", "detectron2"])
@pytest.mark.parametrize("folded", [True, False])
def test_the_maps_are_those_of_the_net(
    net: nn.Module, tmp_path: Path, layout: str, folded: bool, norm: Any
) -> None:
    arrays = in_layout(net, layout, folded)
    path = tmp_path / "R-50.pkl"
    content: dict[str, Any]
    if layout == "caffe2":
        assert "res2_0_branch2a_w" in arrays and "res_conv1_bn_s" in arrays
        arrays["res2_0_branch2a_w_momentum"] = arrays["res2_0_branch2a_w"]
        content = {"blobs": arrays}
    else:
        assert "res2.0.shortcut.norm.weight" in arrays and "stem.conv1.weight" in arrays
        content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content, protocol=2))
    backbone = build_backbone("resnet50", weights=str(path), norm=norm).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for got, wanted in zip(backbone(images), maps_of(net, images), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_names_that_mean_nothing_are_left_for_the_message(net: nn.Module, tmp_path: Path) -> None:
    arrays = in_layout(net, "caffe2", folded=True)
    arrays["res2_0_branch2d_w"] = arrays.pop("res2_0_branch2a_w")
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    with pytest.raises(UserError) as error:
        build_backbone("resnet50", weights=str(path))
    assert "1 missing (first: layer1.0.conv1.weight)" in str(error.value)
    assert "1 unknown (first: res2_0_branch2d_w)" in str(error.value)


def test_other_layouts_are_unchanged(net: nn.Module) -> None:
    state = net.state_dict()
    assert torchvision_names(state) == state
