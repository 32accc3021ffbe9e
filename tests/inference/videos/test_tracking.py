from __future__ import annotations

import sys
import types
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from fcos_lightning.errors import UserError
from fcos_lightning.inference.videos.tracking import ByteTrack, tracker_of
from fcos_lightning.structures import Detections


class Nearest:
    """Has the interface of ``trackers``: numbers from 0, -1 at first sight, some rows left out."""

    def __init__(self, **options: object) -> None:
        self.options = options
        self.last: list[float] = []

    def update(self, found: object) -> object:
        rows = np.asarray(found.data["row"])[::-1]  # type: ignore[attr-defined]  # another order
        rows = rows[found.confidence[rows] > 0.2]  # type: ignore[attr-defined]
        left = found.xyxy[rows, 0]  # type: ignore[attr-defined]
        ids = [
            min(range(len(self.last)), key=lambda n: abs(self.last[n] - x)) if self.last else -1
            for x in left.tolist()
        ]
        self.last = self.last or left.tolist()
        return found[rows].numbered(np.array(ids, dtype=np.int64))  # type: ignore[index]


class Found:
    """As much of supervision's detections as a tracker gets."""

    def __init__(self, xyxy, confidence, class_id, data, tracker_id=None) -> None:  # noqa: ANN001
        self.xyxy, self.confidence, self.class_id = xyxy, confidence, class_id
        self.data, self.tracker_id = data, tracker_id

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, rows: np.ndarray) -> Found:
        data = {key: np.asarray(value)[rows] for key, value in self.data.items()}
        return Found(self.xyxy[rows], self.confidence[rows], self.class_id[rows], data)

    def numbered(self, ids: np.ndarray) -> Found:
        self.tracker_id = ids
        return self


def frame(*lefts: float, scores: tuple[float, ...] = (0.9, 0.8, 0.1)) -> Detections:
    boxes = [[left, 10, left + 20, 40] for left in lefts]
    return Detections(
        torch.tensor(boxes).reshape(-1, 4).float(),
        torch.tensor(scores[: len(lefts)]),
        torch.zeros(len(lefts), dtype=torch.int64),
        ("cat",),
    )


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    trackers = types.ModuleType("trackers")
    trackers.ByteTrackTracker = Nearest  # type: ignore[attr-defined]
    supervision = types.ModuleType("supervision")
    supervision.Detections = Found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackers", trackers)
    monkeypatch.setitem(sys.modules, "supervision", supervision)


def test_numbers_belong_to_their_boxes_and_none_is_lost(package: None) -> None:
    tracker = tracker_of("bytetrack", Fraction(30000, 1001))
    assert isinstance(tracker, ByteTrack)
    first = tracker.follow(frame(100, 10, 50))
    assert first.track_ids is not None and first.track_ids.tolist() == [0, 0, 0]
    second = tracker.follow(frame(12, 101))
    # The tracker saw 10 (number 0) before 100 (number 1), and was shown the rows from the last.
    assert second.track_ids is not None and second.track_ids.tolist() == [1, 2]
    assert second.class_names == ("cat",) and len(second) == 2
    third = tracker.follow(frame(99, 300, 13))
    assert third.track_ids is not None and third.track_ids.tolist() == [2, 2, 0]  # 13 is faint
    assert third.above(0.85).track_ids is not None
    assert third.at(torch.tensor([2, 0])).track_ids.tolist() == [0, 2]  # type: ignore[union-attr]
    empty = tracker.follow(frame())
    assert empty.track_ids is not None and len(empty.track_ids) == 0
    moved = replace(third).to("cpu").resized(torch.tensor([10, 10]), torch.tensor([20, 20]))
    assert torch.equal(moved.track_ids, third.track_ids)  # type: ignore[arg-type]


def test_a_tracker_that_is_not_there_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracker_of(None, Fraction(25)) is None
    with pytest.raises(UserError, match="tracker=sort: give bytetrack, or null"):
        tracker_of("sort", Fraction(25))
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(UserError, match=r"tracker=bytetrack needs trackers, .* pip install"):
        tracker_of("bytetrack", Fraction(25))


def test_the_tracker_itself_keeps_the_numbers_of_what_moves() -> None:
    pytest.importorskip("trackers")
    tracker = tracker_of("bytetrack", Fraction(25))
    assert tracker is not None
    seen = [
        tracker.follow(frame(100 + 3 * step, 300 - 3 * step, scores=(0.9, 0.8)))
        for step in range(12)
    ]
    numbers = [one.track_ids.tolist() for one in seen if one.track_ids is not None]
    assert len(numbers) == 12
    # Once both have a number, each keeps its own, also where the order of boxes changes.
    settled = numbers[6]
    assert min(settled) >= 1 and settled[0] != settled[1]
    assert all(one == settled for one in numbers[6:])
    turned = tracker.follow(frame(300 - 3 * 12, 100 + 3 * 12, scores=(0.8, 0.7)))
    assert turned.track_ids is not None and turned.track_ids.tolist() == settled[::-1]
