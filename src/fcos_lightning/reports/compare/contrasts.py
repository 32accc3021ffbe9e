"""Images and objects that one run gets right and another gets wrong.

Each run is looked at with its own best threshold over all classes, as it would be used. An image is
right where every object is found and no detection is wrong. The cost of its mistakes is counted as
in a run's own report: one point for each missed object, and for each wrong detection its score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lightning.evaluation.matches import Matches
from fcos_lightning.reports.contents import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Not more detections of an image are shown.
_MOST = 100


@dataclass(frozen=True, eq=False)
class AtThreshold:
    """What a run finds at its threshold.

    Attributes:
        matches: of the data set.
        score: weaker detections are left out.
    """

    matches: Matches
    score: float

    @cached_property
    def missed(self) -> NDArray[np.bool_]:
        """``[M]`` objects that count and are not found."""
        lost: NDArray[np.bool_] = self.matches.counted & (self.matches.found_score() < self.score)
        return lost

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """``[K]`` detections that are wrong."""
        wrong: NDArray[np.bool_] = self.matches.wrong & (self.matches.scores >= self.score)
        return wrong

    @cached_property
    def mistakes(self) -> NDArray[np.int64]:
        """``[N]`` mistakes of each image."""
        matches, images = self.matches, len(self.matches.truth)
        lost = np.bincount(matches.images[self.missed], minlength=images)
        return np.asarray(lost + np.bincount(matches.positions[self.wrong], minlength=images))

    @cached_property
    def cost(self) -> NDArray[np.float64]:
        """``[N]`` what the mistakes of each image cost."""
        matches, images = self.matches, len(self.matches.truth)
        lost = np.bincount(matches.images[self.missed], minlength=images)
        scores = matches.scores[self.wrong]
        return np.asarray(
            lost + np.bincount(matches.positions[self.wrong], scores, minlength=images)
        )

    @cached_property
    def _by_image(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = np.argsort(self.matches.positions, kind="stable")
        places = np.arange(len(self.matches.truth) + 1)
        return rows, np.searchsorted(self.matches.positions[rows], places)

    def of_image(self, image: int) -> dict[str, Any]:
        """Return what is found in an image, and which of its objects are missed."""
        matches = self.matches
        rows, begin = self._by_image
        rows = rows[begin[image] : begin[image + 1]]
        rows = rows[matches.scores[rows] >= self.score]
        rows = rows[np.argsort(-matches.scores[rows], kind="stable")][:_MOST]
        return {
            "missed": np.flatnonzero(self.missed[matches.truth.rows(image)]).tolist(),
            "wrong": int(self.wrong[rows].sum()),
            "cost": round(float(self.cost[image]), 3),
            "detections": [
                {
                    "box": rounded(matches.table.boxes_xyxy[row], 1),
                    "class": int(matches.labels[row]),
                    "score": round(float(matches.scores[row]), 4),
                    "right": bool(matches.right[row]),
                    "wrong": bool(matches.wrong[row]),
                }
                for row in rows.tolist()
            ],
        }


def contrast(first: AtThreshold, other: AtThreshold) -> dict[str, Any]:
    """Count the images, and the objects, that both get right, or one of them, or neither."""
    counted = first.matches.counted
    return {
        "images": _shares(first.mistakes == 0, other.mistakes == 0),
        "objects": _shares(~first.missed[counted], ~other.missed[counted]),
    }


def _shares(first: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "both": int((first & other).sum()),
        "first": int((first & ~other).sum()),
        "other": int((other & ~first).sum()),
        "neither": int((~first & ~other).sum()),
    }


def contrasting_images(first: AtThreshold, other: AtThreshold, most: int) -> list[tuple[str, int]]:
    """Return the images whose mistakes cost one run most more than the other.

    Args:
        first: of two runs.
        other: of two runs.
        most: images where one is better, and so many where the other is.

    Returns:
        Who is better, ``first`` or ``other``, and the image; the greatest difference first.
    """
    found: list[tuple[str, int]] = []
    for better, gain in (("other", first.cost - other.cost), ("first", other.cost - first.cost)):
        # Of two that cost the same more, one that is wholly right says more.
        right = (other if better == "other" else first).mistakes == 0
        order = np.lexsort((np.arange(len(gain)), ~right, -gain.round(6)))[:most]
        found += [(better, int(image)) for image in order[gain[order] > 0]]
    return found


def objects_of(matches: Matches, image: int) -> list[dict[str, Any]]:
    """Return the objects of an image."""
    rows = matches.truth.rows(image)
    return [
        {"box": rounded(box, 1), "class": int(label), "ignored": bool(ignored)}
        for box, label, ignored in zip(
            matches.truth.boxes_xyxy[rows],
            matches.truth.labels[rows],
            matches.truth.ignored[rows],
            strict=True,
        )
    ]
