"""Anchors against a plain loop, and against torchvision's matcher."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from fcos_lightning import Target
from fcos_lightning.detector.assigners.anchors import AnchorAssigner
from fcos_lightning.detector.grid import Grid
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points, Targets

GRID = Grid((8, 16), anchor_scales=(2.0, 3.0), anchor_ratios=(0.5, 1.0, 2.0))


def scene(seed: int, most: int = 9) -> list[Target]:
    """Three images; crowded, ordinary and maybe empty."""
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for _ in range(3):
        number = int(torch.randint(0, most, (1,), generator=generator))
        sides = torch.rand(number, 2, generator=generator) * 60 + 4
        start = torch.rand(number, 2, generator=generator) * 60
        labels = torch.randint(0, 5, (number,), generator=generator)
        targets.append(Target(torch.cat([start, start + sides], dim=1), labels))
    return targets


def corners(points: Points) -> torch.Tensor:
    assert points.size_wh is not None
    return torch.cat([points.xy - points.size_wh / 2, points.xy + points.size_wh / 2], dim=1)


def plain_iou(a: list[float], b: list[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("keep_best", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_every_anchor_as_a_plain_loop_has_it(seed: int, keep_best: bool) -> None:
    points, targets = GRID((40, 56)), scene(seed)
    found = AnchorAssigner(keep_best=keep_best)(points, targets)
    assert found.ignored is not None
    anchors = corners(points).double().tolist()
    for image, target in enumerate(targets):
        boxes, labels = target.boxes_xyxy.double().tolist(), target.labels.tolist()
        ious = [[plain_iou(anchor, box) for box in boxes] for anchor in anchors]
        best = [max((row[box] for row in ious), default=0.0) for box in range(len(boxes))]
        for anchor, row in enumerate(ious):
            largest = max(row, default=0.0)
            # An overlap within rounding of a bound may fall on either side.
            if any(abs(largest - bound) < 1e-5 for bound in (0.4, 0.5)):
                continue
            claims = [
                iou >= 0.5 or (keep_best and iou > 0 and iou > best[box] - 1e-7)
                for box, iou in enumerate(row)
            ]
            place = (image, anchor)
            if any(claims):
                box = row.index(largest)
                assert found.labels[place] == labels[box] and found.matched[place] == box
                left, top, right, bottom = boxes[box]
                x, y = points.xy[anchor].double().tolist()
                wanted = [x - left, y - top, right - x, bottom - y]
                assert found.ltrb_px[place].tolist() == pytest.approx(wanted, abs=1e-4)
                assert found.claims[place] == sum(claims) and not found.ignored[place]
            else:
                assert found.labels[place] == found.matched[place] == -1
                assert found.claims[place] == 0 and (found.ltrb_px[place] == 0).all()
                assert bool(found.ignored[place]) == (largest >= 0.4)


def test_two_hundred_scenes_are_torchvisions() -> None:
    matcher, assigner = Matcher(0.5, 0.4, allow_low_quality_matches=True), AnchorAssigner()
    points = GRID((96, 128))
    anchors = corners(points)
    ignored_somewhere = False
    for seed in range(200):
        targets = scene(seed, most=40)  # more than are looked at together
        found = assigner(points, Targets.stack(targets))
        assert found.ignored is not None
        for image, target in enumerate(targets):
            if not len(target.labels):
                assert (found.labels[image] == -1).all() and not found.ignored[image].any()
                continue
            theirs = matcher(box_iou(target.boxes_xyxy, anchors))
            assert torch.equal(found.matched[image], theirs.clamp(min=-1))
            assert torch.equal(found.ignored[image], theirs == -2)
            ignored_somewhere |= bool((theirs == -2).any())
    assert ignored_somewhere


def test_a_box_that_touches_no_anchor_makes_no_anchor_its_own() -> None:
    # torchvision takes the largest overlap of all, and where that is 0 every anchor has it.
    far = Target(torch.tensor([[900.0, 900.0, 950.0, 950.0]]), torch.tensor([0]))
    found = AnchorAssigner()(GRID((40, 56)), [far])
    assert (found.labels == -1).all()


def test_points_without_anchors_are_refused() -> None:
    with pytest.raises(ValueError, match="no anchors"):
        AnchorAssigner()(Grid((8, 16))((40, 56)), scene(0))


def test_overlaps_out_of_order_are_refused() -> None:
    with pytest.raises(UserError, match=r"negative_iou=0\.6 .*in this order"):
        AnchorAssigner(negative_iou=0.6)


def test_with_equal_bounds_no_anchor_is_ignored() -> None:
    found = AnchorAssigner(0.5, 0.5, keep_best=False)(GRID((96, 128)), scene(1))
    assert found.ignored is not None and not found.ignored.any() and found.positive.any()


def test_its_shapes_do_not_depend_on_the_data() -> None:
    with FakeTensorMode():
        points = GRID((40, 56))
        targets = Targets(torch.rand(3, 20, 4), torch.zeros(3, 20, dtype=torch.int64))
        assert AnchorAssigner()(points, targets).labels.shape == (3, len(points.xy))
