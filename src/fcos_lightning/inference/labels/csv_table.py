"""A table of boxes, a row for each."""

from __future__ import annotations

import csv

from fcos_lightning.inference.labels.found import Found, Place, text_of

_COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "score")


class CsvLabels:
    """``labels.csv`` in the frame of the stored pixels; of a video with the frame, from 0.

    An image in which nothing was found has a row without a box. Detections that a tracker follows
    have its numbers in the last column.

    Args:
        place: where to write.
        video: whether frames are counted.
    """

    left_out = 0

    def __init__(self, place: Place, video: bool) -> None:
        self._names = place.classes.names
        self._video = video
        self._file = (place.folder / "labels.csv").open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file, lineterminator="\n")
        self._table.writerow((*_COLUMNS, *(("frame", "track") if video else ())))

    def write(self, found: Found) -> None:
        """Add the rows of an image."""
        height, width = found.stored_hw
        start = (found.picture.name, width, height)
        ends: list[tuple[object, ...]] = [() for _ in found.labels] or [()]
        if self._video:
            tracks = found.detections.track_ids
            numbers = [None] * len(ends) if tracks is None else tracks.tolist() or [None]
            ends = [(found.picture.frame, one or "") for one in numbers]
        if not found.labels:
            self._table.writerow((*start, *([""] * 6), *ends[0]))
        boxes = found.stored_xyxy.tolist()
        for label, box, score, end in zip(found.labels, boxes, found.scores, ends, strict=False):
            corners = map(text_of, box)
            self._table.writerow((*start, self._names[label], *corners, score, *end))

    def close(self) -> None:
        """Finish the table."""
        self._file.close()
