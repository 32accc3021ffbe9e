"""Two images through each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcos_lightning.data.mixing.scene import Mix, Scene, cut, drawn_factor


class MixUp(Mix):
    """Another image shines through (arXiv 1710.09412; for detection 1902.04103, section 3.1).

    The other one is scaled by a factor and laid at a random place, over the edges where it is
    larger. Where both are, a pixel is their weighted mean. The boxes of both count in full; those
    of the other are clipped to the image.

    Args:
        p: probability with which an image is mixed.
        share: the weight of the image itself is drawn from this range.
        scale: the factor is drawn from this range.
        least_visible: a box of which a smaller share of the area is shown is to be ignored, or with
            ``data.ignore=none`` left out.
    """

    def __init__(
        self,
        p: float = 0.15,
        share: tuple[float, float] = (0.4, 0.6),
        scale: tuple[float, float] = (0.5, 1.5),
        least_visible: float = 0.25,
    ) -> None:
        super().__init__(p, least_visible)
        self.require_range("share", share, 0, 1)
        self.require_range("scale", scale, 0.01, 10)
        self.share = share
        self.scale = scale

    def __call__(self, scene: Scene, others: Sequence[Scene], random: np.random.Generator) -> Scene:
        """Return the mixture, see ``Mix``."""
        (other,) = others
        part = other.scaled(drawn_factor(random, self.scale))
        share = random.uniform(*self.share)
        (height, width), (part_h, part_w) = scene.size_hw, part.size_hw
        # From flush with one edge to flush with the other, whichever of the two is larger.
        x, y = (
            int(random.integers(min(0, room), max(0, room) + 1))
            for room in (width - part_w, height - part_h)
        )
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + part_w, width), min(y + part_h, height)
        image = scene.image.copy()
        own = image[top:bottom, left:right].astype(np.float32)
        through = part.image[top - y : bottom - y, left - x : right - x].astype(np.float32)
        image[top:bottom, left:right] = np.rint(share * own + (1 - share) * through).astype(
            np.uint8
        )
        boxes, labels = cut(
            part.boxes_xyxy + np.array([x, y] * 2),
            part.labels,
            (0, 0, width, height),
            self.least_visible,
        )
        return Scene(
            image,
            np.concatenate([scene.boxes_xyxy, boxes]),
            np.concatenate([scene.labels, labels]),
        )
