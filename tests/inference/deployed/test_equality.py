"""What counts as the same detections."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.inference.deployed.detectors import lively, noise

from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.equality import check_same

PICTURES = noise((97, 131), (64, 96))

Outputs = tuple[NDArray[np.generic], ...]


def outputs(images: NDArray[np.uint8]) -> Outputs:
    (found,) = lively().detect([torch.from_numpy(images[0])])
    parts = (found.boxes_xyxy, found.scores, found.labels)
    return tuple(part.numpy()[None].copy() for part in parts)


def changed(change: str) -> tuple[Outputs, ...]:
    """Outputs of both pictures, those of the second not quite the same."""
    first, second = (outputs(np.ascontiguousarray(p.transpose(2, 0, 1))[None]) for _, p in PICTURES)
    boxes, scores, labels = second
    if change == "box":
        boxes[0, 3, 2] += 0.06
    elif change == "box a little":
        boxes[0, 3, 2] += 0.04
    elif change == "score":
        scores[0, 0] += 2e-4
    elif change == "label":
        labels[0, 2] = (labels[0, 2] + 1) % 3
    elif change == "one less":
        second = tuple(part[:, 1:] for part in second)
    elif change == "one more":
        second = tuple(np.concatenate([part[:, :1], part], axis=1) for part in second)
    elif change == "order":
        second = tuple(part[:, ::-1].copy() for part in second)
    elif change == "padding":
        more = (np.zeros((1, 2, 4), np.float32), np.zeros((1, 2), np.float32), np.full((1, 2), -1))
        second = tuple(np.concatenate(pair, axis=1) for pair in zip(second, more, strict=True))
    return first, second


@pytest.mark.parametrize("change", ["nothing", "box a little", "padding"])
def test_what_is_near_enough_is_the_same(change: str) -> None:
    answers = iter(changed(change))
    same = check_same(lively(), lambda images: next(answers), PICTURES)
    assert same.images == 2 and same.detections > 20
    assert same.box_px == pytest.approx(0.04 if change == "box a little" else 0, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("box", r"is off by 0\.06 px \(allowed 0\.05\)"),
        ("score", r"its score by 0\.0002 \(allowed 0\.0001\)"),
        ("label", r"number \d+, of class \d"),
        ("one less", r"it does not find number 1|number 1, of class"),
        ("one more", r"it finds one with score 0\.\d+ that torch does not find"),
        ("order", r"do not stand best first"),
    ],
)
def test_the_first_image_that_differs_is_named(change: str, said: str) -> None:
    answers = iter(changed(change))
    with pytest.raises(UserError, match=rf"^nothing is written, .* image 2, noise 1: .*({said})"):
        check_same(lively(), lambda images: next(answers), PICTURES)
