"""Objects of one image in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcos_lightning.data.mixing.scene import IGNORED, Mix, Scene, cut, drawn_factor
from fcos_lightning.data.resizing import resized

#: Places that are tried for an object.
_PLACES = 10


class CopyPaste(Mix):
    """Pastes objects of another image, cut out as their boxes (after arXiv 2012.07177).

    A box is cut out to whole pixels, scaled and laid at a random place. With it come the boxes
    that reach into the cut, clipped to it. Nothing that is there is hidden without a trace: a place
    is taken only where no box, be it to be ignored, would have more than ``most_covered`` of its
    area under what is pasted, and no two cuts overlap. So all boxes stay as they are. After ten
    places that will not do an object is left out, as one is that is larger than the image.

    Args:
        p: probability with which an image is mixed.
        most: at most so many objects are pasted, from one on, each number equally likely.
        scale: the factor of each is drawn from this range.
        most_covered: see above.
        least_visible: of the boxes that come with a cut, one of which a smaller share of the area
            is in it is to be ignored, or with ``data.ignore=none`` left out.
    """

    def __init__(
        self,
        p: float = 0.3,
        most: int = 5,
        scale: tuple[float, float] = (0.5, 1.5),
        most_covered: float = 0.3,
        least_visible: float = 0.25,
    ) -> None:
        super().__init__(p, least_visible)
        self.require("most", most, most >= 1, "1 or more")
        self.require("most_covered", most_covered, 0 <= most_covered < 1, "a number in [0, 1)")
        self.require_range("scale", scale, 0.01, 10)
        self.most = most
        self.scale = scale
        self.most_covered = most_covered

    def __call__(self, scene: Scene, others: Sequence[Scene], random: np.random.Generator) -> Scene:
        """Return the image with objects of another one, see ``Mix``."""
        (other,) = others
        objects = random.permutation(np.flatnonzero(other.labels != IGNORED))
        objects = objects[: int(random.integers(1, self.most + 1))]
        image = scene.image.copy()
        boxes, labels = [scene.boxes_xyxy], [scene.labels]
        covered = np.zeros(len(scene.labels))
        cuts: list[tuple[int, int, int, int]] = []
        for one in objects.tolist():
            patch = self._cut_out(other, one, drawn_factor(random, self.scale))
            place = self._place(scene, patch, covered, cuts, random)
            if place is None:
                continue
            x, y, right, bottom = place
            image[y:bottom, x:right] = patch.image
            covered += _shares(scene.boxes_xyxy, place)
            cuts.append(place)
            boxes.append(patch.boxes_xyxy + np.array([x, y] * 2))
            labels.append(patch.labels)
        return Scene(image, np.concatenate(boxes), np.concatenate(labels))

    def _cut_out(self, scene: Scene, one: int, factor: float) -> Scene:
        """Return an object of a scene as a scene of its own, scaled."""
        x1, y1 = np.floor(scene.boxes_xyxy[one, :2]).astype(int).tolist()
        x2, y2 = np.ceil(scene.boxes_xyxy[one, 2:]).astype(int).tolist()
        found = cut(scene.boxes_xyxy, scene.labels, (x1, y1, x2, y2), self.least_visible)
        image = resized(np.ascontiguousarray(scene.image[y1:y2, x1:x2]), factor)
        height, width = image.shape[:2]
        ratio = np.array([width / (x2 - x1), height / (y2 - y1)] * 2)
        return Scene(image, (found[0] - np.array([x1, y1] * 2)) * ratio, found[1])

    def _place(
        self,
        scene: Scene,
        patch: Scene,
        covered: np.ndarray[tuple[int], np.dtype[np.float64]],
        cuts: Sequence[tuple[int, int, int, int]],
        random: np.random.Generator,
    ) -> tuple[int, int, int, int] | None:
        """Return where a cut may lie, xyxy; None: nowhere that was tried."""
        (height, width), (patch_h, patch_w) = scene.size_hw, patch.size_hw
        if patch_h > height or patch_w > width:
            return None
        for _ in range(_PLACES):
            x = int(random.integers(0, width - patch_w + 1))
            y = int(random.integers(0, height - patch_h + 1))
            place = (x, y, x + patch_w, y + patch_h)
            if any(_overlap(place, earlier) for earlier in cuts):
                continue
            if (covered + _shares(scene.boxes_xyxy, place) <= self.most_covered).all():
                return place
        return None


def _overlap(first: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return max(first[0], other[0]) < min(first[2], other[2]) and max(first[1], other[1]) < min(
        first[3], other[3]
    )


def _shares(
    boxes_xyxy: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    place: tuple[int, int, int, int],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the share of each box's area that lies under a cut, ``[G]``."""
    low = np.maximum(boxes_xyxy[:, :2], place[:2])
    high = np.minimum(boxes_xyxy[:, 2:], place[2:])
    area = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    shares: np.ndarray[tuple[int], np.dtype[np.float64]] = (high - low).clip(min=0).prod(
        axis=1
    ) / area
    return shares
