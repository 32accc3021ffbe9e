"""Pictures put together of objects and backgrounds, with the boxes of what is in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

HEIGHT, WIDTH = 240, 320
SMALLEST_PX, LARGEST_PX = 12.0, 150.0
MOST_OBJECTS = 20
#: Of an object: how much must stay visible below later ones, and inside the picture.
LEAST_VISIBLE = 0.5
LEAST_INSIDE = 0.7
_PLACEMENTS = 20  # tries before an object that finds no place is given up
_OPAQUE = 0.4  # alpha from which on a pixel belongs to an object


@dataclass(frozen=True, eq=False)
class Cut:
    """An object without a background.

    Attributes:
        rgb: ``[H, W, 3]`` float32, 0 to 255.
        alpha: ``[H, W]`` float32, 0 to 1.
        label: of its class.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    label: int


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and what is in it.

    Attributes:
        rgb: ``[H, W, 3]`` uint8.
        boxes_xyxy: ``[G, 4]`` float64 in pixels, each tight around its object, hidden parts too.
        labels: ``[G]`` int64.
    """

    rgb: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]


def crop(photograph: NDArray[np.uint8], chance: Generator) -> NDArray[np.float32]:
    """Return a part of a photograph of any size as a background, turned and lit at random."""
    height, width = photograph.shape[:2]
    share = math.exp(chance.uniform(math.log(0.35), 0.0))
    side = min(height / HEIGHT, width / WIDTH) * share
    tall, wide = int(side * HEIGHT), int(side * WIDTH)
    y, x = chance.integers(height - tall + 1), chance.integers(width - wide + 1)
    part = cv2.resize(photograph[y : y + tall, x : x + wide], (WIDTH, HEIGHT))
    if chance.random() < 0.5:
        part = part[:, ::-1]
    light = part.astype(np.float32) * chance.uniform(0.6, 1.2) + chance.uniform(-20, 20)
    return np.ascontiguousarray(light.clip(0, 255), dtype=np.float32)


def turned(cut: Cut, side_px: float, degrees: float, stretch: float) -> Cut:
    """Return an object of which the longer side of the visible part is ``side_px``."""
    turn = cv2.getRotationMatrix2D((0, 0), degrees, 1.0)[:, :2] @ np.diag([stretch, 1.0])
    ys, xs = np.nonzero(cut.alpha >= _OPAQUE)
    corners = np.stack([xs, ys], axis=1) @ turn.T
    scale = side_px / max(float((corners.max(axis=0) - corners.min(axis=0)).max()), 1.0)
    low, high = corners.min(axis=0) * scale, corners.max(axis=0) * scale
    size = np.ceil(high - low).astype(int) + 3
    matrix = np.concatenate([turn * scale, (1 - low)[:, None]], axis=1)
    # Shrinking far without smoothing first would leave single pixels of thin lines.
    blur = max(0.5 / scale - 0.5, 0.0)
    layers = np.dstack([cut.rgb * cut.alpha[..., None], cut.alpha])
    if blur > 0.2:
        layers = cv2.GaussianBlur(layers, (0, 0), blur)
    moved = cv2.warpAffine(layers, matrix, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR)
    alpha = moved[..., 3].clip(0, 1)
    rgb = moved[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    return Cut(rgb.clip(0, 255).astype(np.float32), alpha.astype(np.float32), cut.label)


def compose(
    background: NDArray[np.float32],
    pick: Callable[[Generator], Cut],
    chance: Generator,
    most: int = MOST_OBJECTS,
    turn_degrees: float = 25.0,
) -> Scene:
    """Put objects on a background, later ones over earlier ones, and make the picture worse.

    Args:
        background: ``[H, W, 3]`` float32, 0 to 255.
        pick: gives an object, its longer side of any length.
        chance: of all that is drawn.
        most: objects; few are likelier than many.
        turn_degrees: how far an object is turned to either side.
    """
    canvas = background.copy()
    owner = np.full(canvas.shape[:2], -1)
    whole: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    for _ in range(int(math.exp(chance.uniform(0, math.log(most + 1))))):
        side = math.exp(chance.uniform(math.log(SMALLEST_PX), math.log(LARGEST_PX)))
        degrees = chance.uniform(-turn_degrees, turn_degrees)
        cut = turned(pick(chance), side, degrees, math.exp(chance.uniform(-0.2, 0.2)))
        for _ in range(_PLACEMENTS):
            if _put(canvas, owner, cut, whole, boxes, chance):
                labels.append(cut.label)
                break
    if chance.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), chance.uniform(0.3, 1.2))
    canvas += chance.normal(0, chance.uniform(2, 18), canvas.shape)
    return Scene(
        np.ascontiguousarray(canvas.clip(0, 255).astype(np.uint8)),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
    )


def _put(
    canvas: NDArray[np.float32],
    owner: NDArray[np.int64],
    cut: Cut,
    whole: list[int],
    boxes: list[tuple[float, float, float, float]],
    chance: Generator,
) -> bool:
    """Place an object, unless it would hide another or leave the picture; tell whether."""
    height, width = cut.alpha.shape
    mask = cut.alpha >= _OPAQUE
    rows, columns = canvas.shape[:2]
    x = int(chance.integers(-width // 4, columns - 3 * width // 4 + 1))
    y = int(chance.integers(-height // 4, rows - 3 * height // 4 + 1))
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = min(rows - y, height), min(columns - x, width)
    inside = mask[top:bottom, left:right]
    if inside.sum() < max(LEAST_INSIDE * mask.sum(), 1):
        return False
    place = (slice(y + top, y + bottom), slice(x + left, x + right))
    left_over = _counts(owner, len(whole)) - _counts(owner[place][inside], len(whole))
    if (left_over < LEAST_VISIBLE * np.array(whole)).any():
        return False
    ys, xs = np.nonzero(inside)
    across, down = x + left, y + top
    box = (across + xs.min(), down + ys.min(), across + xs.max() + 1, down + ys.max() + 1)
    if min(box[2] - box[0], box[3] - box[1]) < 3:
        return False
    alpha = cut.alpha[top:bottom, left:right, None]
    canvas[place] += (cut.rgb[top:bottom, left:right] - canvas[place]) * alpha
    owner[place][inside] = len(whole)
    whole.append(int(inside.sum()))
    boxes.append((float(box[0]), float(box[1]), float(box[2]), float(box[3])))
    return True


def _counts(owner: NDArray[np.int64], objects: int) -> NDArray[np.int64]:
    """Return how many pixels each object has; -1 is the background."""
    return np.bincount(owner.ravel() + 1, minlength=objects + 1)[1:]
