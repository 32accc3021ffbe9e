"""Images with boxes, and predictions that are near them, for mappings that choose by either."""

from __future__ import annotations

import pytest
import torch

from fcos_lightning.detector import make_points
from fcos_lightning.structures import Points, Prediction, Target

#: As on a processor, and as on a GPU, where no shape may depend on the data.
each_way = pytest.mark.parametrize("known", [True, False], ids=["processor", "gpu"])

STRIDES = (8, 16, 32)
CLASSES = 3
Row = list[float]


def points_of(height: int = 64, width: int = 80) -> Points:
    sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    return make_points(sizes, STRIDES)


def scene(seed: int, most: int = 7, size: float = 50.0) -> tuple[Points, list[Target], Prediction]:
    """Two images of up to ``most`` boxes, maybe none, and a prediction of all points.

    Half of the points predict one of the boxes roughly, the others anything.
    """
    random = torch.Generator().manual_seed(seed)
    points, targets = points_of(), []
    count = len(points.xy)
    ltrb_px = torch.rand(2, count, 4, generator=random) * 40 + 0.1
    cls_logits = torch.randn(2, count, CLASSES, generator=random) * 2 - 1
    for image in range(2):
        number = int(torch.randint(0, most + 1, (1,), generator=random))
        sides = torch.rand(number, 2, generator=random) * size + 3
        start = torch.rand(number, 2, generator=random) * 60 - 4
        boxes = torch.cat([start, start + sides], dim=1)
        labels = torch.randint(0, CLASSES, (number,), generator=random)
        targets.append(Target(boxes, labels))
        if not number:
            continue
        meant = torch.randint(0, number, (count,), generator=random)
        true = torch.cat([points.xy - boxes[meant, :2], boxes[meant, 2:] - points.xy], dim=1)
        near = true.clamp(min=0.1) * (torch.randn(count, 4, generator=random) * 0.3).exp()
        good = torch.rand(count, 1, generator=random) < 0.5
        ltrb_px[image] = torch.where(good, near, ltrb_px[image])
        cls_logits[image, torch.arange(count), labels[meant]] += 2 * good[:, 0]
    return points, targets, Prediction(cls_logits, ltrb_px)


def plain_iou(a: Row, b: Row) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


def inside(x: float, y: float, box: Row) -> bool:
    return box[0] < x < box[2] and box[1] < y < box[3]


def predicted_box(x: float, y: float, ltrb: Row) -> Row:
    return [x - ltrb[0], y - ltrb[1], x + ltrb[2], y + ltrb[3]]


class Unsure(Exception):
    """Rounding decides this scene, so that there is no one answer."""


def surely_less(a: float, b: float, off: float = 1e-5) -> bool:
    if abs(a - b) <= off * max(abs(a), abs(b), 1.0):
        raise Unsure
    return a < b
