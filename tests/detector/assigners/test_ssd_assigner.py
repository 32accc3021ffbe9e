"""SSD's matching against a plain loop, and against torchvision's."""

import pytest
import torch
from tests.detector.assigners.scenes import scene
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from fcos_lightning import Target
from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.ssd import SSDAssigner
from fcos_lightning.errors import UserError

GRID = Grid((8, 16), anchor_scales=(2.0,), anchor_ratios=(1.0, 0.5, 2.0), square_scales=(2.8284,))
SIZE = (32, 48)


def plain_iou(a: list[float], b: list[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def check(seed: int) -> int:
    """Hold a scene against a loop; return how many anchors got a box they overlap too little."""
    points, targets = GRID(SIZE), scene(seed, SIZE)
    assert points.size_wh is not None
    half = points.size_wh / 2
    anchors = torch.cat([points.xy - half, points.xy + half], dim=1).double().tolist()
    found = SSDAssigner()(points, targets)
    forced_weakly = 0
    for image, target in enumerate(targets):
        boxes, labels = target.boxes_xyxy.double().tolist(), target.labels.tolist()
        ious = [[plain_iou(anchor, box) for anchor in anchors] for box in boxes]
        claims = [
            {box for box, row in enumerate(ious) if row[a] >= 0.5} for a in range(len(anchors))
        ]
        wanted = [
            max(some, key=lambda box, a=a: (ious[box][a], -box)) if some else -1  # type: ignore[misc]
            for a, some in enumerate(claims)
        ]
        unsure = set()
        for box, row in enumerate(ious):
            best = max(row)
            first = row.index(best)
            # Anchors that are best within rounding: any of them may be it.
            equal = [a for a, iou in enumerate(row) if abs(iou - best) < 1e-6]
            if best > 0 and len(equal) > 1:
                unsure.update(equal)
            if best > 0:
                forced_weakly += row[first] < 0.5
                wanted[first] = box
                claims[first].add(box)
        for a, some in enumerate(claims):
            near = any(abs(row[a] - 0.5) < 1e-5 for row in ious)
            near |= len({round(row[a], 5) for row in ious}) < len(ious) and len(some) > 1
            if a in unsure or near:
                continue
            place = (image, a)
            assert found.matched[place] == wanted[a]
            assert found.claims[place] == len(some)
            assert found.labels[place] == (labels[wanted[a]] if some else -1)
            if some:
                x, y = points.xy[a].double().tolist()
                x1, y1, x2, y2 = boxes[wanted[a]]
                sides = [x - x1, y - y1, x2 - x, y2 - y]
                assert found.ltrb_px[place].tolist() == pytest.approx(sides, abs=1e-4)
    return forced_weakly


def test_two_hundred_scenes_as_a_plain_loop_has_them() -> None:
    assert sum(check(seed) for seed in range(200)) > 100


def test_two_hundred_scenes_are_torchvisions() -> None:
    matcher, points = SSDMatcher(0.5), GRID((64, 96))
    assert points.size_wh is not None
    half = points.size_wh / 2
    anchors = torch.cat([points.xy - half, points.xy + half], dim=1)
    for seed in range(200):
        targets = scene(seed, (64, 96), most=40)
        found = SSDAssigner()(points, targets)
        for image, target in enumerate(targets):
            ious = box_iou(target.boxes_xyxy, anchors)
            # torchvision gives a box that touches no anchor the first of all.
            (touching,) = (ious > 0).any(dim=1).nonzero(as_tuple=True)
            if not len(touching):
                assert (found.matched[image] == -1).all()
                continue
            theirs = matcher(ious[touching])
            theirs = torch.where(theirs < 0, -1, touching[theirs.clamp(min=0)])
            assert torch.equal(found.matched[image], theirs)


def test_a_box_far_from_all_anchors_has_none() -> None:
    far = Target(torch.tensor([[900.0, 900, 950, 950]]), torch.tensor([0]))
    assert (SSDAssigner()(GRID(SIZE), [far]).labels == -1).all()


def test_points_without_anchors_are_refused() -> None:
    with pytest.raises(ValueError, match="no anchors"):
        SSDAssigner()(Grid((8, 16))(SIZE), scene(0, SIZE))


def test_an_overlap_that_is_none() -> None:
    with pytest.raises(UserError, match=r"positive_iou=0\.0: give a number above 0 and up to 1"):
        SSDAssigner(0.0)
