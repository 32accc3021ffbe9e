"""AP of a file in fewer bits beside that of its detector, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.resizing import Sides
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.metric import DetectionMetric
from fcos_lightning.inference.deployed.equality import Run, detections_of
from fcos_lightning.storage.bars import counting_bar
from fcos_lightning.structures import Detections

#: By how much AP may fall.
ALLOWED = 0.01
#: Images whose activations are looked at before they become integers.
CALIBRATED_ON = 64

Find = Callable[[NDArray[np.uint8]], Detections]


def by_torch(detector: DenseDetector) -> Find:
    """Return what finds objects in images ``[1, 3, H, W]`` by torch."""
    return lambda planes: detector.detect([torch.from_numpy(planes[0])])[0].to("cpu")


def by_file(run: Run) -> Find:
    """Return what finds objects in images ``[1, 3, H, W]`` by a file."""
    return lambda planes: detections_of(run(planes))[0]


def planes_of(
    split: DataSplit, sides: Sides, max_pixels: int, places: Sequence[int]
) -> Iterator[NDArray[np.uint8]]:
    """Yield images ``[1, 3, H, W]`` of a split as the detector sees them."""
    for place in places:
        seen = sides.seen(split.image(place, max_pixels))
        yield np.ascontiguousarray(seen.transpose(2, 0, 1))[None]


def average_precisions(
    finders: Sequence[Find],
    module: DetectionDataModule,
    split: DataSplit,
    sides: Sides,
    most: int | None,
) -> tuple[list[float], int]:
    """Return COCO's AP of several ways to find objects, and on how many images.

    Args:
        finders: each looks at the same images.
        module: of the split.
        split: with annotations.
        sides: how large images are seen.
        most: so many images from all over the split are looked at; None: all.

    Raises:
        UserError: if the split has no annotations, or an image cannot be read.
    """
    if not split.annotated:
        raise UserError(f"{split.name} has no annotations to measure AP against; give other data")
    metrics = [DetectionMetric(split.truth) for _ in finders]
    places = split.evenly(most or None)
    with counting_bar("AP", len(places)) as one_done:
        for place, planes in zip(
            places, planes_of(split, sides, module.max_pixels, places), strict=True
        ):
            size = torch.from_numpy(split.truth.sizes_hw[place])
            inner = torch.tensor(sides.inner_hw(int(size[0]), int(size[1])))
            image_id = torch.tensor([int(split.truth.image_ids[place])])
            for find, metric in zip(finders, metrics, strict=True):
                metric.update(image_id, [find(planes).resized(inner, size)])
            one_done()
    for metric in metrics:
        metric.seen_only = True
    return [float(metric.compute()["AP"]) for metric in metrics], len(places)
