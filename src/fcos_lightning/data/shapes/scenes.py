"""Scenes of the ``shapes`` data set: what lies where, and how it is painted.

What is annotated comes from integers alone (polygons filled on a grid of quarter pixels), so it is
the same on every machine; only the painting goes through OpenCV. Each image draws from two random
streams of its own, one for the layout and one for the looks.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

CLASS_NAMES = ("circle", "square", "triangle", "star", "ring")
SMALLEST_PX = 12.0
LARGEST_SHARE = 0.86  # of the image's side: 110 px at 128
EMPTY_SHARE = 0.08
MOST_OBJECTS = 6
LEAST_VISIBLE_SHARE = 0.55
LEAST_INSIDE_SHARE = 0.7
_GRID = 4  # cells of the fill grid per pixel, along each axis
_PLACEMENTS = 25  # tries before an object that would hide another is given up


@dataclass(frozen=True, eq=False)
class Shape:
    """One drawn object.

    Attributes:
        label: index into ``CLASS_NAMES``.
        mask: ``[4h, 4w]`` bool, quarter-pixel cells the object fills, cropped to the image; its
            corners lie on whole pixels.
        corner_px: x and y of the mask's top left corner, whole pixels of the image.
    """

    label: int
    mask: NDArray[np.bool_]
    corner_px: tuple[int, int]

    @cached_property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """Tight box of what lies in the image, in pixels, multiples of a quarter."""
        column, row, width, height = cv2.boundingRect(self.mask.view(np.uint8))
        x, y = self.corner_px
        return x + column / _GRID, y + row / _GRID, width / _GRID, height / _GRID

    @cached_property
    def cells(self) -> int:
        """Quarter-pixel cells the object fills (a ring's hole does not count)."""
        return int(np.count_nonzero(self.mask))

    @property
    def area_px(self) -> float:
        """Filled area in the image, square pixels."""
        return self.cells / _GRID**2


def outline(label: int) -> list[NDArray[np.float64]]:
    """Closed polygons, ``[vertices, 2]`` each, of a shape of radius 1 around the origin."""

    def regular(vertices: int, radius: float = 1.0, first: float = -0.25) -> NDArray[np.float64]:
        # The first vertex points up; y grows downwards. Squares stand on a side.
        turn = (first + np.arange(vertices) / vertices) * (2 * math.pi)
        return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)

    if CLASS_NAMES[label] == "circle":
        return [regular(72)]
    if CLASS_NAMES[label] == "square":
        return [regular(4, first=0.125)]
    if CLASS_NAMES[label] == "triangle":
        return [regular(3)]
    if CLASS_NAMES[label] == "star":
        star = regular(10)
        star[1::2] *= 0.42
        return [star]
    return [regular(72), regular(48, 0.56)]


def fill(polygons: list[NDArray[np.int64]], height: int, width: int) -> NDArray[np.bool_]:
    """Fill polygons by the even-odd rule.

    A cell is filled if its centre lies inside. Written out in whole numbers, because an annotation
    must not depend on the rounding of a library's version.

    Args:
        polygons: ``[vertices, 2]`` x and y each, whole cells, inside ``height`` and ``width``.
        height: rows of the mask.
        width: columns of the mask.

    Returns:
        ``[height, width]`` bool.
    """
    edges = np.concatenate([np.stack([p, np.roll(p, -1, axis=0)], axis=1) for p in polygons])
    edges = edges[edges[:, 0, 1] != edges[:, 1, 1]]
    down = edges[:, 0, 1] < edges[:, 1, 1]
    (x0, y0), (x1, y1) = np.where(down[:, None, None], edges, edges[:, ::-1]).transpose(1, 2, 0)
    rows, crossing = np.nonzero(
        (y0 <= np.arange(height)[:, None]) & (np.arange(height)[:, None] < y1)
    )
    x0, y0, dx, dy = (side[crossing] for side in (x0, y0, x1 - x0, y1 - y0))
    # First column whose centre lies right of the edge on this row: ceil(x - 1/2).
    columns = -((dy - 2 * x0 * dy - (2 * rows + 1 - 2 * y0) * dx) // (2 * dy))
    toggles = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1))
    toggles = (toggles.reshape(height, width + 1)[:, :width] & 1).astype(bool)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(toggles, axis=1)
    return inside


def _raise_shape(layout: Generator, label: int, side_px: float) -> NDArray[np.bool_]:
    """Fill one slightly turned and stretched shape whose longer side is ``side_px``, uncropped."""
    angle, stretch = (layout.random() - 0.5) * 0.6, math.exp((layout.random() - 0.5) * 0.25)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    polygons = [(polygon * [stretch, 1.0]) @ turn.T for polygon in outline(label)]
    low, high = polygons[0].min(axis=0), polygons[0].max(axis=0)
    scale = side_px * _GRID / (high - low).max()
    cells = [np.rint((polygon - low) * scale).astype(np.int64) for polygon in polygons]
    width, height = cells[0].max(axis=0)
    return fill(cells, int(height), int(width))


def _crop(full: NDArray[np.bool_], x: int, y: int, label: int, size: int) -> Shape:
    """Put a filled shape at cell ``(x, y)`` and keep what lies in the image."""
    cells = size * _GRID
    x1, y1 = min(x + full.shape[1], cells), min(y + full.shape[0], cells)
    left, top = max(x, 0) // _GRID, max(y, 0) // _GRID
    right, bottom = -(-x1 // _GRID), -(-y1 // _GRID)
    mask = np.zeros(((bottom - top) * _GRID, (right - left) * _GRID), dtype=bool)
    kept = full[max(-y, 0) : y1 - y, max(-x, 0) : x1 - x]
    row, column = max(y, 0) - top * _GRID, max(x, 0) - left * _GRID
    mask[row : row + kept.shape[0], column : column + kept.shape[1]] = kept
    return Shape(label, mask, (left, top))


def arrange(layout: Generator, size: int) -> list[Shape]:
    """Lay out one image: no object, or 1 to 6, later ones over earlier ones.

    An object is only placed where most of it lies in the image and no earlier one ends up more
    than 45 % covered.

    Args:
        layout: the image's own random stream.
        size: side of the image, pixels.

    Returns:
        The objects in the order they are painted.
    """
    if layout.random() < EMPTY_SHARE:
        return []
    count = 1 + int(layout.random() * MOST_OBJECTS)
    spread = math.log(LARGEST_SHARE * size / SMALLEST_PX)
    # Who covers whom is counted on every second cell, which is plenty and four times as quick.
    owner = np.full((size * _GRID // 2, size * _GRID // 2), -1, dtype=np.int8)
    drawn: list[int] = []
    visible: list[int] = []
    shapes: list[Shape] = []
    for _ in range(count):
        label = int(layout.random() * len(CLASS_NAMES))
        full = _raise_shape(layout, label, SMALLEST_PX * math.exp(layout.random() * spread))
        height, width = full.shape
        whole = np.count_nonzero(full)
        for _ in range(_PLACEMENTS):
            # Up to a quarter of the object may stick out of the image on a side.
            x = round(layout.random() * (size * _GRID - width / 2) - width / 4)
            y = round(layout.random() * (size * _GRID - height / 2) - height / 4)
            shape = _crop(full, x, y, label, size)
            if shape.cells < LEAST_INSIDE_SHARE * whole:
                continue
            if max(shape.box_xywh[2:]) < SMALLEST_PX - 1 / _GRID:
                continue
            thinned = shape.mask[1::2, 1::2]
            left, top = (side * _GRID // 2 for side in shape.corner_px)
            below = owner[top : top + thinned.shape[0], left : left + thinned.shape[1]]
            covered = np.bincount(below[thinned] + 1, minlength=len(shapes) + 1)[1:]
            left_over = [seen - int(hidden) for seen, hidden in zip(visible, covered, strict=True)]
            if any(
                seen < LEAST_VISIBLE_SHARE * own for seen, own in zip(left_over, drawn, strict=True)
            ):
                continue
            below[thinned] = len(shapes)
            drawn.append(int(np.count_nonzero(thinned)))
            visible = [*left_over, drawn[-1]]
            shapes.append(shape)
            break
    return shapes


def _colour(looks: Generator, saturation: float = 0.0) -> NDArray[np.float32]:
    """One RGB colour, 0 to 255, at least this saturated, ``[3, 1, 1]``."""
    strength = saturation + (1 - saturation) * looks.random()
    rgb = colorsys.hsv_to_rgb(looks.random(), strength, 0.2 + 0.8 * looks.random())
    return np.array(rgb, dtype=np.float32)[:, None, None] * 255


def _noise(looks: Generator, height: int, width: int, cells: int) -> NDArray[np.float32]:
    """Smooth noise between 0 and 1 of ``[height, width]``, ``cells`` bumps along each side."""
    coarse = looks.random((cells, cells), dtype=np.float32)
    smooth: Any = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.float32).clip(0, 1)


def _pattern(looks: Generator, height: int, width: int) -> NDArray[np.float32]:
    """Weight of the second of two colours, 0 to 1, ``[height, width]``."""
    kind = int(looks.random() * 8) - 3
    if kind <= 0:
        return np.zeros((height, width), dtype=np.float32)
    if kind == 1:
        return _noise(looks, height, width, 2 + int(looks.random() * 6))
    angle, period = looks.random() * 2 * math.pi, 5 + 7 * looks.random()
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)
    along, across = (
        x * math.cos(angle) + y * math.sin(angle),
        y * math.cos(angle) - x * math.sin(angle),
    )
    if kind == 2:
        span = float(np.ptp(along)) or 1.0
        weight = (along - along.min()) / span
    elif kind == 3:  # stripes
        weight = 0.5 + 0.5 * np.sin(along * (2 * math.pi / period)).clip(-0.4, 0.4) / 0.4
    else:  # dots
        dots = np.cos(along * (2 * math.pi / period)) + np.cos(across * (2 * math.pi / period))
        weight = (dots - 0.4).clip(0, 0.6) / 0.6
    return np.asarray(weight, dtype=np.float32)


def background(looks: Generator, size: int) -> NDArray[np.float32]:
    """An empty scene: two colours mixed by a pattern, open lines as clutter, grain.

    Returns:
        ``[3, size, size]`` float32 RGB, 0 to 255.
    """
    first, second = _colour(looks), _colour(looks)
    # Busy patterns in full contrast would drown the small objects.
    second = first + (second - first) * (0.25 + 0.45 * looks.random())
    canvas = first + (second - first) * _pattern(looks, size, size)
    canvas = canvas + (_noise(looks, size, size, 3) - 0.5) * 60
    mean = canvas.mean(axis=(1, 2), keepdims=True)
    # 8 bit, because OpenCV does not smooth lines on float images.
    scene = np.ascontiguousarray(canvas.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    for _ in range(int(looks.random() * 7)):
        middle, reach = looks.random(2) * size, (0.15 + looks.random()) * size
        angle = looks.random() * math.pi + np.linspace(0, 1.6 * (looks.random() - 0.5), 9)
        steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * reach / len(angle)
        track = middle + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2
        colour = tuple(((mean + _colour(looks)).ravel() / 2).tolist())
        points = np.rint(track * 16).astype(np.int32)  # the 4 below: sixteenths of a pixel
        cv2.polylines(scene, [points], False, colour, 1 + int(looks.random() * 2), cv2.LINE_AA, 4)
    canvas = np.ascontiguousarray(scene.transpose(2, 0, 1), dtype=np.float32)
    grain = looks.random((3, size, size), dtype=np.float32) - np.float32(0.5)
    return np.asarray(canvas + grain * np.float32(30 * looks.random()), dtype=np.float32)


def paint(canvas: NDArray[np.float32], shape: Shape, looks: Generator) -> None:
    """Paint one object onto the canvas, smooth edges, in a colour that stands out.

    Args:
        canvas: ``[3, size, size]`` float32 RGB, changed in place.
        shape: what to paint.
        looks: random stream of the colours and textures.
    """
    height, width = (side // _GRID for side in shape.mask.shape)
    left, top = shape.corner_px
    below = canvas[:, top : top + height, left : left + width]

    def coverage(mask: NDArray[Any]) -> NDArray[np.float32]:
        share: Any = cv2.resize(
            mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA
        )
        return np.asarray(share / np.float32(255), dtype=np.float32)

    whole = shape.mask.astype(np.uint8)
    alpha = coverage(whole)
    behind = (below * alpha).sum(axis=(1, 2), keepdims=True) / alpha.sum()
    first = _colour(looks, 0.25)
    for _ in range(10):
        if np.abs(first - behind).sum() > 220:
            break
        first = _colour(looks, 0.25)
    second = first + (_colour(looks) - first) * (0.1 + 0.35 * looks.random())
    texture = first + (second - first) * _pattern(looks, height, width)
    if looks.random() < 0.45:  # a rim, inside the shape so that the box stays tight
        shift = 0.45 if first.mean() > 110 else 1.0
        rim = first * shift if shift < 1 else 255 - (255 - first) * 0.45
        padded: Any = cv2.copyMakeBorder(whole, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth: Any = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
        inner = depth[1:-1, 1:-1] > max(2.5, 0.04 * max(shape.mask.shape))
        texture = rim + (texture - rim) * (coverage(inner) / alpha.clip(1 / 16))
    below += (texture - below) * alpha
