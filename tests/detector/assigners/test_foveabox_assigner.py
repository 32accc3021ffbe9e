"""FoveaBox's mapping against a plain loop, and against what mmdetection's gives."""

import json
import math
from pathlib import Path

import pytest
import torch
from tests.detector.assigners.scenes import scene

from fcos_lightning import Target
from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.foveabox import FoveaBoxAssigner
from fcos_lightning.errors import UserError

GRID = Grid((8, 16, 32))
SIZE = (56, 72)
RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "foveabox.json").read_text())


def check(seed: int, shrink: float) -> int:
    """Hold a scene against a loop over points and boxes; return how many points were ambiguous."""
    points, targets = GRID(SIZE), scene(seed, SIZE)
    found = FoveaBoxAssigner(shrink)(points, targets)
    xy, strides = points.xy.double().tolist(), points.stride.tolist()
    ambiguous = 0
    for image, target in enumerate(targets):
        boxes, labels = target.boxes_xyxy.double().tolist(), target.labels.tolist()
        for point, ((x, y), stride) in enumerate(zip(xy, strides, strict=True)):
            claims, unsure = [], False
            for box, (x1, y1, x2, y2) in enumerate(boxes):
                area = (x2 - x1) * (y2 - y1)
                least = 0.0 if stride == 8 else 2 * stride
                most = math.inf if stride == 32 else 8 * stride
                if area <= 0 or not least <= math.sqrt(area) <= most:
                    continue
                off_x = abs(x - (x1 + x2) / 2) - shrink * (x2 - x1) / 2
                off_y = abs(y - (y1 + y2) / 2) - shrink * (y2 - y1) / 2
                # Within rounding of an edge it may fall on either side.
                unsure |= abs(off_x) < 1e-4 or abs(off_y) < 1e-4
                if off_x <= 0 and off_y <= 0:
                    claims.append((area, box))
            if unsure:
                continue
            place = (image, point)
            assert found.claims[place] == len(claims)
            ambiguous += len(claims) > 1
            if not claims:
                assert found.labels[place] == found.matched[place] == -1
                assert (found.ltrb_px[place] == 0).all()
                continue
            _, box = min(claims)
            x1, y1, x2, y2 = boxes[box]
            assert found.matched[place] == box and found.labels[place] == labels[box]
            wanted = [x - x1, y - y1, x2 - x, y2 - y]
            assert found.ltrb_px[place].tolist() == pytest.approx(wanted, abs=1e-4)
            assert min(wanted) > 0
    return ambiguous


def test_two_hundred_scenes_as_a_plain_loop_has_them() -> None:
    assert sum(check(seed, 0.4 if seed % 2 else 0.9) for seed in range(200)) > 50


@pytest.mark.parametrize("scene", RECORDED["scenes"], ids=lambda one: f"{len(one['boxes'])} boxes")
def test_the_same_points_as_mmdetections(scene: dict[str, list[list[float]]]) -> None:
    points = Grid(tuple(RECORDED["strides"]))(tuple(RECORDED["size_hw"]))
    boxes = torch.tensor(scene["boxes"]).reshape(-1, 4)
    target = Target(boxes, torch.tensor(scene["labels"]).long())
    found = FoveaBoxAssigner()(points, [target])
    assert found.labels[0].tolist() == scene["assigned"]
    assert found.ignored is None
    for point, logarithms in dict(scene["log_targets"]).items():
        unit = 4 * points.stride[int(point)]
        ours = (found.ltrb_px[0, int(point)] / unit).log()
        assert ours.tolist() == pytest.approx(logarithms, abs=1e-4)


def test_a_single_level_answers_for_all_areas() -> None:
    assert FoveaBoxAssigner().ranges((8,)) == [(0.0, math.inf)]
    assert FoveaBoxAssigner(eta=1.6).ranges((8, 16)) == [(0.0, 51.2), (40.0, math.inf)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shrink": 0.0}, r"shrink=0\.0: give a number above 0"),
        ({"shrink": 1.5}, r"shrink=1\.5: give a number above 0 and up to 1"),
        ({"eta": 1.2}, r"eta=1\.2: give 1\.4143 or more"),
    ],
)
def test_options_without_a_meaning(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FoveaBoxAssigner(**options)
