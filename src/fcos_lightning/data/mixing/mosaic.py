"""Four images around a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcos_lightning.data.mixing.scene import Mix, Scene, cut, drawn_factor

#: Grey, where a quarter is larger than its image.
FILL = 114


class Mosaic(Mix):
    """Four images in the quarters around a point (YOLOv4, arXiv 2004.10934, section 3.3).

    The point is drawn from the middle of the image. Each of the four is scaled by a factor of its
    own; of one that is wider or higher than its quarter a random part is shown, and one that is
    less wide or high touches the line through the point, with grey on its other side. So a box of
    the result is a box of one of the four: scaled, moved, and clipped to its quarter.

    Args:
        p: probability with which an image is mixed.
        scale: the factors are drawn from this range; at 0.5 a quarter shows all of an image.
        center: the point is drawn from this range of width and height.
        least_visible: a box of which a smaller share of the area is shown is to be ignored, or with
            ``data.ignore=none`` left out.
    """

    partners = 3

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.5, 1.0),
        center: tuple[float, float] = (0.3, 0.7),
        least_visible: float = 0.25,
    ) -> None:
        super().__init__(p, least_visible)
        self.require_range("scale", scale, 0.01, 10)
        self.require_range("center", center, 0, 1)
        self.scale = scale
        self.center = center

    def __call__(self, scene: Scene, others: Sequence[Scene], random: np.random.Generator) -> Scene:
        """Return the mosaic, see ``Mix``."""
        height, width = scene.size_hw
        x, y = (round(side * random.uniform(*self.center)) for side in (width, height))
        quarters = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        canvas = np.full_like(scene.image, FILL)
        boxes, labels = [scene.boxes_xyxy[:0]], [scene.labels[:0]]
        for place, one in zip(random.permutation(4).tolist(), (scene, *others), strict=True):
            part = one.scaled(drawn_factor(random, self.scale))
            left, top, right, bottom = quarters[place]
            (part_h, part_w) = part.size_hw
            from_x, to_x, shown_w = _shown(part_w, left, right, place % 2 == 0, random)
            from_y, to_y, shown_h = _shown(part_h, top, bottom, place < 2, random)
            canvas[to_y : to_y + shown_h, to_x : to_x + shown_w] = part.image[
                from_y : from_y + shown_h, from_x : from_x + shown_w
            ]
            shift = np.array([to_x - from_x, to_y - from_y] * 2)
            region = (to_x, to_y, to_x + shown_w, to_y + shown_h)
            found = cut(part.boxes_xyxy + shift, part.labels, region, self.least_visible)
            boxes.append(found[0])
            labels.append(found[1])
        return Scene(canvas, np.concatenate(boxes), np.concatenate(labels))


def _shown(
    size: int, low: int, high: int, at_end: bool, random: np.random.Generator
) -> tuple[int, int, int]:
    """Return from where a side is shown, to where, and how much of it.

    Args:
        size: of the side in pixels.
        low: where its quarter begins.
        high: where it ends.
        at_end: whether the point is at the end of the quarter rather than at its beginning.
        random: what is drawn from.
    """
    spare = size - (high - low)
    chosen = int(random.integers(0, max(spare, 0) + 1))
    if spare >= 0:
        return chosen, low, high - low
    return 0, high - size if at_end else low, size
