"""Facts that several foreign layouts share, and the form in which a layout hands over a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torchvision
from torch import Tensor

#: Caffe's means in BGR, as the official code has them (fcos_core/config/defaults.py).
CAFFE_INPUT = {
    "mean": [102.9801, 115.9465, 122.7717],
    "std": [1.0, 1.0, 1.0],
    "channel_order": "bgr",
}

#: ImageNet's means in BGR, as detectron2 and all that builds on it has them.
DETECTRON2_INPUT = {
    "mean": [103.53, 116.28, 123.675],
    "std": [1.0, 1.0, 1.0],
    "channel_order": "bgr",
}

#: The loss of all improved recipes, and that of the first version.
IMPROVED_LOSS = {"box_loss": "giou", "box_epsilon": "official", "box_units": "strides"}
PLAIN_LOSS = {"box_loss": "iou", "box_epsilon": "official", "box_units": "pixels"}


#: At the end of a recipe: bottlenecks stride in their 3x3 convolutions, as torchvision's nets do.
#: No tensor tells, and the nets that most published detectors start from stride in the first 1x1.
ON_3X3 = "-3x3"


@dataclass(frozen=True)
class Source:
    """What a foreign file holds.

    Attributes:
        weights: under the file's own keys.
        config: the text of the configuration that the file carries along, or nothing.
        class_names: that the file carries along, or None.
        version: of the code that wrote it, as far as the file says.
    """

    weights: Mapping[str, Tensor]
    config: str = ""
    class_names: tuple[str, ...] | None = None
    version: str = ""


@dataclass(frozen=True)
class Translation:
    """A foreign file in our terms.

    Attributes:
        spec: keyword arguments of ``build_fcos``.
        weights: under our names.
        sides: at which shorter and at most which longer side in pixels it was evaluated.
    """

    spec: dict[str, Any]
    weights: dict[str, Tensor]
    sides: tuple[int, int] = (800, 1333)


def split_recipe(recipe: str | None) -> tuple[str | None, bool]:
    """Return a recipe without ``ON_3X3``, and whether it ended in that."""
    if recipe is None or not recipe.endswith(ON_3X3):
        return recipe, False
    return recipe.removesuffix(ON_3X3), True


def coco_classes() -> tuple[list[str], list[int]]:
    """Return names and category ids of COCO's 80 classes (in torchvision's description)."""
    categories = coco_categories_with_gaps()
    ids = [i for i, name in enumerate(categories) if name not in ("__background__", "N/A")]
    return [categories[i] for i in ids], ids


def coco_categories_with_gaps() -> list[str]:
    """Return a name for each of COCO's category ids 0 to 90: 0 is background, some are N/A."""
    described = torchvision.models.detection.FCOS_ResNet50_FPN_Weights.COCO_V1.meta
    return list(described["categories"])


def classes_of(num_classes: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return class names and category ids as far as they are known: 80 classes are COCO's.

    Args:
        num_classes: ``C``.
        names: that the file gives.
    """
    coco_names, coco_ids = coco_classes()
    if names is not None and len(names) != num_classes:
        names = None
    if num_classes == len(coco_names) and (names is None or list(names) == coco_names):
        return {"class_names": coco_names, "category_ids": coco_ids}
    return {"class_names": None if names is None else list(names)}


def detectron2_input(source: Source, std: list[float] | None = None) -> dict[str, Any]:
    """Return what a model built on detectron2 expects; a file that carries it says it itself.

    The order of channels is that of its means: ImageNet's is largest in red, smallest in blue.

    Args:
        source: the file.
        std: where the file does not say; None: detectron2's.
    """
    chosen: dict[str, Any] = dict(DETECTRON2_INPUT) | ({} if std is None else {"std": std})
    for key, ours in (("pixel_mean", "mean"), ("pixel_std", "std")):
        if key in source.weights:
            chosen[ours] = source.weights[key].flatten().tolist()
    if chosen["mean"][0] > chosen["mean"][-1]:
        chosen["channel_order"] = "rgb"
    return chosen
