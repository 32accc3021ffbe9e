"""DenseBox's discs against a plain loop."""

import math

import pytest
import torch
from tests.detector.assigners.scenes import scene

from fcos_lightning import Target
from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.densebox import DenseBoxAssigner
from fcos_lightning.errors import UserError

GRID = Grid((4,))
SIZE = (32, 44)


def check(seed: int) -> int:
    """Hold a scene against a loop over points and boxes; return how many points were ambiguous."""
    points, targets = GRID(SIZE), scene(seed, SIZE)
    found = DenseBoxAssigner(gray=1.0)(points, targets)
    assert found.ignored is not None
    ambiguous = 0
    for image, target in enumerate(targets):
        boxes, labels = target.boxes_xyxy.double().tolist(), target.labels.tolist()
        for point, (x, y) in enumerate(points.xy.double().tolist()):
            claims, gray, unsure = [], False, False
            for box, (x1, y1, x2, y2) in enumerate(boxes):
                if x2 <= x1 or y2 <= y1:
                    continue
                middle = ((x1 + x2) / 2, (y1 + y2) / 2)
                away = math.dist((x, y), middle)
                radius = 0.3 * (y2 - y1)
                unsure |= min(abs(away - radius), abs(away - radius - 4)) < 1e-4
                unsure |= any(abs(c / 4 - round(c / 4)) < 1e-5 for c in middle)
                column = min(max(math.floor(middle[0] / 4), 0), 10)
                row = min(max(math.floor(middle[1] / 4), 0), 7)
                if away <= radius or point == row * 11 + column:
                    claims.append(((x2 - x1) * (y2 - y1), box))
                gray |= away <= radius + 4
            if unsure:
                continue
            place = (image, point)
            assert found.claims[place] == len(claims)
            ambiguous += len(claims) > 1
            assert bool(found.ignored[place]) == (gray and not claims)
            if not claims:
                assert found.labels[place] == found.matched[place] == -1
                continue
            _, box = min(claims)
            x1, y1, x2, y2 = boxes[box]
            assert found.matched[place] == box and found.labels[place] == labels[box]
            wanted = [x - x1, y - y1, x2 - x, y2 - y]
            assert found.ltrb_px[place].tolist() == pytest.approx(wanted, abs=1e-4)
    return ambiguous


def test_two_hundred_scenes_as_a_plain_loop_has_them() -> None:
    assert sum(check(seed) for seed in range(200)) > 50


def test_a_small_box_has_the_point_of_its_cell() -> None:
    small = Target(torch.tensor([[8.0, 4, 9, 5]]), torch.tensor([0]))
    found = DenseBoxAssigner()(GRID(SIZE), [small])
    assert found.positive[0].nonzero().flatten().tolist() == [1 * 11 + 2]


def test_without_a_gray_zone_all_else_is_background() -> None:
    found = DenseBoxAssigner(gray=0.0)(GRID(SIZE), scene(3, SIZE))
    assert found.ignored is not None and not found.ignored.any() and found.positive.any()


@pytest.mark.parametrize("option", ["radius", "gray"])
def test_options_without_a_meaning(option: str) -> None:
    with pytest.raises(UserError, match=rf"{option}=-1\.0: give 0 or more"):
        DenseBoxAssigner(**{option: -1.0})


def test_several_levels_are_refused() -> None:
    with pytest.raises(UserError, match=r"densebox: it has one level.*model\.fpn\.only=2"):
        DenseBoxAssigner().check((4, 8))
