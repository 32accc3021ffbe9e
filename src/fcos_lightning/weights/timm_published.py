"""ImageNet weights that timm publishes for nets of torchvision, better ones than the first."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.weights.timm_names import from_timm

#: What ``weights: timm`` means, by the net's name in torchvision. Each was trained for longer than
#: torchvision's first ones (arXiv 2110.00476) on ImageNet-1k alone, with its usual mean and std.
BETTER: Mapping[str, str] = {
    "resnet18": "resnet18.a1_in1k",
    "resnet34": "resnet34.a1_in1k",
    "resnet50": "resnet50.a1_in1k",
    "resnet101": "resnet101.a1h_in1k",
    "resnet152": "resnet152.a1h_in1k",
    "resnext101_32x8d": "resnext101_32x8d.tv2_in1k",
    "resnext101_64x4d": "resnext101_64x4d.c1_in1k",
    "mobilenet_v2": "mobilenetv2_100.ra_in1k",
}
PREFIX = "timm"


def is_published(weights: str) -> bool:
    """Tell whether ``timm`` or ``timm/TAG`` is meant, rather than a file."""
    return weights.split("/")[0] == PREFIX


def published_weights(name: str, weights: str) -> dict[str, Tensor]:
    """Return weights of timm under torchvision's names, downloaded once.

    Args:
        name: of the net in torchvision.
        weights: ``timm``: those of ``BETTER``; or ``timm/TAG``, as ``timm.list_pretrained()`` has.

    Raises:
        UserError: if timm is not installed or has no such weights, or they cannot be downloaded.
    """
    where = f"model.backbone.weights={weights}"
    try:
        import timm
    except ImportError as error:
        raise UserError(f"{where}: timm is not installed; {pip_install('timm')}") from error
    tag = weights.partition("/")[2] or BETTER.get(name)
    if tag is None:
        raise UserError(f"{where}: timm has none for {name}; give imagenet, a path, or null")
    if tag not in timm.list_pretrained():
        net = BETTER.get(name, name).split(".")[0]
        known = ", ".join(timm.list_pretrained(f"{net}.*")) or "none"
        raise UserError(f"{where}: timm has no such weights; of {net} there are {known}")
    try:
        state = timm.create_model(tag, pretrained=True).state_dict()
    except Exception as error:  # of the hub, the network, the file system
        raise UserError(
            f"{where}: the weights could not be had ({' '.join(str(error).split())}); give the "
            "path of a file, or null to start fresh"
        ) from error
    return from_timm(state)
