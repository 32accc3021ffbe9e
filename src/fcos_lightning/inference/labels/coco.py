"""A data set in COCO's format: images, categories, and the detections as annotations."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, TextIO

from fcos_lightning.evaluation.detections import xywh_of
from fcos_lightning.inference.labels.found import Found, Place


class CocoLabels:
    """``annotations.json``, in the frame of the stored pixels; each box keeps its score.

    Annotations are written as they come. The list of images, which COCO's format has beside
    them, waits in a file of its own, so that memory does not grow.

    Args:
        place: where to write.
    """

    left_out = 0

    def __init__(self, place: Place) -> None:
        self._classes = place.classes
        self._images_in = place.folder / "images.part"
        self._rows = 0
        self._images = 0
        self._open = ExitStack()
        self._file: TextIO = self._open.enter_context(
            (place.folder / "annotations.json").open("w", encoding="utf-8")
        )
        self._list: TextIO = self._open.enter_context(self._images_in.open("w", encoding="utf-8"))
        categories = [
            {"id": number, "name": name}
            for number, name in zip(place.classes.ids, place.classes.names, strict=True)
        ]
        self._file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')

    def write(self, found: Found) -> None:
        """Add an image and its boxes."""
        height, width = found.stored_hw
        picture = found.picture
        image = {"id": picture.number, "file_name": picture.name, "width": width, "height": height}
        self._list.write(("\n" if self._images == 0 else ",\n") + json.dumps(image))
        self._images += 1
        boxes = xywh_of(found.stored_xyxy).tolist()
        for label, score, bbox in zip(found.labels, found.scores, boxes, strict=True):
            row: dict[str, Any] = {
                "id": self._rows + 1,
                "image_id": picture.number,
                "category_id": self._classes.ids[label],
                "bbox": [round(side, 3) for side in bbox],
                "area": round(bbox[2] * bbox[3], 3),
                "iscrowd": 0,
                "score": score,
            }
            self._file.write(("\n" if self._rows == 0 else ",\n") + json.dumps(row))
            self._rows += 1

    def close(self) -> None:
        """Add the list of images."""
        with self._open:
            self._list.flush()
            self._file.write('],\n"images": [')
            with self._images_in.open(encoding="utf-8") as images:
                for line in images:
                    self._file.write(line)
            self._file.write("]}\n")
        self._images_in.unlink()
