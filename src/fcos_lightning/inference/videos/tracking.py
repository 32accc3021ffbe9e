"""Numbers for objects that are followed from frame to frame of a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import torch

from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.inference.labels.found import Found
from fcos_lightning.structures import Detections

TRACKERS = ("bytetrack",)
#: Detections above it begin tracks, those below only keep them going (arXiv 2110.06864, section 3;
#: 0.6 there, for scores that are not roots).
_HIGH_SCORE = 0.5


class Tracker(Protocol):
    """Follows objects."""

    def follow(self, detections: Detections) -> Detections:
        """Return the next frame's detections with ``track_ids``, 0 where none is given yet."""


class ByteTrack:
    """ByteTrack (arXiv 2110.06864) of Roboflow's ``trackers``: the motion of boxes, no looks.

    Args:
        rate: frames per second.

    Raises:
        UserError: if the package is not installed.
    """

    def __init__(self, rate: Fraction) -> None:
        try:
            import supervision
            from trackers import ByteTrackTracker
        except ImportError:
            raise UserError(
                f"tracker=bytetrack needs trackers, which is not installed: {pip_install('track')}"
            ) from None
        self._detections: Any = supervision.Detections
        self._tracker: Any = ByteTrackTracker(
            frame_rate=float(rate),
            track_activation_threshold=_HIGH_SCORE,
            high_conf_det_threshold=_HIGH_SCORE,
        )

    def follow(self, detections: Detections) -> Detections:
        """Return the next frame's detections, see ``Tracker``; each of them is still there."""
        count = len(detections)
        given = self._detections(
            xyxy=detections.boxes_xyxy.numpy().reshape(-1, 4),
            confidence=detections.scores.numpy(),
            class_id=detections.labels.numpy(),
            data={"row": np.arange(count)},
        )
        seen = self._tracker.update(given)
        numbers = torch.zeros(count, dtype=torch.int64)
        if len(seen) and seen.tracker_id is not None:
            rows = torch.as_tensor(np.asarray(seen.data["row"], dtype=np.int64))
            # Its own begin at 0, and -1 is none.
            numbers[rows] = torch.as_tensor(np.asarray(seen.tracker_id, dtype=np.int64)) + 1
        return replace(detections, track_ids=numbers)


def tracker_of(name: str | None, rate: Fraction) -> Tracker | None:
    """Return the tracker of a name; None of no name.

    Raises:
        UserError: if the name is unknown, or its package is not installed.
    """
    if name is None:
        return None
    if name not in TRACKERS:
        raise UserError(f"tracker={name}: give {' or '.join(TRACKERS)}, or null")
    return ByteTrack(rate)


def followed(walk: Iterator[Found], tracker: Tracker) -> Iterator[Found]:
    """Yield what was found, frame after frame, with the numbers of objects."""
    for found in walk:
        yield replace(found, detections=tracker.follow(found.detections))
