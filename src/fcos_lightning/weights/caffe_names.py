"""Residual nets that came from Caffe: their names for weights, in torchvision's.

Two layouts are known: Caffe2's blobs (``res2_0_branch2a_w``), as MSRA's and FAIR's ImageNet models
are published, and detectron2's (``res2.0.conv1.weight``). Which name means what was read from
detectron2's and the official FCOS code's readers of such files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_BLOB = re.compile(r"(?:res_)?(conv1|res[2-5]_\d+_branch(?:1|2a|2b|2c))_(?:(bn)_)?(\w+)")
_DETECTRON2 = re.compile(r"(?:stem\.)?(conv1|res[2-5]\.\d+\.\w+)\.(?:(norm)\.)?(\w+)")
_PLACES = {"branch1": "shortcut", "branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_OF_CONV = {"w": "weight", "b": "bias"}
_OF_NORM = {
    "s": "weight",
    "gamma": "weight",
    "b": "bias",
    "beta": "bias",
    "rm": "running_mean",
    "riv": "running_var",  # the name says inverse, the numbers are variances
}
_CLASSIFIERS = ("fc1000_", "pred_", "stem.fc.", "linear.")

#: What torch's and torchvision's BatchNorm add to a variance.
_EPSILON = 1e-5


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under torchvision's names; those that are not of Caffe unchanged.

    Where a file has only scales and shifts of its norms, means and variances were folded into them;
    they become 0 and 1. A bias of a convolution goes into the mean that its norm takes off.
    """
    if "conv1_w" in state:
        pattern = _BLOB
    elif "stem.conv1.weight" in state:
        pattern = _DETECTRON2
    else:
        return dict(state)
    named: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith("_momentum"):  # of the optimiser
            continue
        if key.startswith(_CLASSIFIERS):
            key = f"fc.{key}"
        elif (match := pattern.fullmatch(key)) is not None:
            key = _torchvision_name(*match.groups()) or key
        named[key] = value
    for key in [key for key in named if _is_norm(key) and key.endswith(".weight")]:
        norm = key.removesuffix(".weight")
        named.setdefault(f"{norm}.running_mean", torch.zeros_like(named[key]))
        named.setdefault(f"{norm}.running_var", torch.ones_like(named[key]) - _EPSILON)
    for key in [key for key in named if "conv" in key and key.endswith(".bias")]:
        mean = key.replace("conv", "bn").replace(".bias", ".running_mean")
        if mean in named:
            named[mean] = named[mean] - named.pop(key)
    return named


def _torchvision_name(layer: str, norm: str | None, leaf: str) -> str | None:
    """Return ``layer1.0.bn2.bias`` for ``("res2_0_branch2b", "bn", "b")``; None if unknown."""
    leaf = (_OF_NORM if norm else _OF_CONV).get(leaf, leaf)
    if leaf not in ("weight", "bias", "running_mean", "running_var"):
        return None
    if layer == "conv1":
        return f"bn1.{leaf}" if norm else f"conv1.{leaf}"
    stage, block, place = re.split(r"[._]", layer)
    place = _PLACES.get(place, place)
    if place == "shortcut":
        place = "downsample.1" if norm else "downsample.0"
    elif norm:
        place = place.replace("conv", "bn")
    return f"layer{int(stage[-1]) - 1}.{block}.{place}.{leaf}"


def _is_norm(key: str) -> bool:
    return re.search(r"(^|\.)(bn\d|downsample\.1)\.\w+$", key) is not None
