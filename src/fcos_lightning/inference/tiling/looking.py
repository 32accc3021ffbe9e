"""A detector that looks at a large image in tiles, and at all of it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcos_lightning.data.resizing import Sides, planes, resized
from fcos_lightning.inference.tiling.merging import cut_by, merged
from fcos_lightning.inference.tiling.rows import InMemory, PixelRows
from fcos_lightning.inference.tiling.windows import Tiles, Window
from fcos_lightning.structures import Detections

if TYPE_CHECKING:
    from fcos_lightning.inference.engines.finder import Finder

#: Where a decoder has none of its own: FCOS's.
_NMS_IOU = 0.6
#: So many rows are read at a time: they are there twice, for the tiles and to be shrunk.
_ROWS = 256
#: From RGB uint8 images ``[3, h, w]`` to what is found in each, in its pixels.
Detect = Callable[[Sequence[Tensor]], list[Detections]]


def nms_iou_of(detector: Finder) -> float:
    """Return the overlap at which boxes of tiles are merged: that of the detector's own NMS."""
    return float(getattr(detector.decoder, "nms_iou", _NMS_IOU))


class InTiles:
    """Finds objects in tiles and in the whole image, and merges them, see ``merged``.

    Each tile is resized as an image of its size would be. The image as a whole is looked at too,
    shrunk as without tiles, for what is larger than a tile. Of a large image no more is in memory
    than the rows that one row of tiles needs, and what the detector needs for a batch of them.

    Args:
        detect: looks at a batch.
        tiles: how images are cut; None: they are not.
        sides: to which images are resized, the shorter one, and what the longer may become.
        nms_iou: of the detector's decoder, see ``nms_iou_of``.
        batch_size: tiles at a time.
        size_hw: height and width of the only images that the detector takes; None: of any.
    """

    def __init__(
        self,
        detect: Detect,
        tiles: Tiles | None,
        sides: tuple[int, int],
        nms_iou: float,
        batch_size: int = 1,
        size_hw: tuple[int, int] | None = None,
    ) -> None:
        self.detect = detect
        self.tiles = tiles
        self.sides = Sides(*sides, size_hw)
        self.nms_iou = nms_iou
        self.batch_size = batch_size

    def cuts(self, height: int, width: int) -> bool:
        """Tell whether an image of a size is looked at in tiles."""
        scale = self.sides.scale(height, width)
        return self.tiles is not None and self.tiles.cut(height, width, scale)

    def whole(self, image: NDArray[np.uint8]) -> Detections:
        """Return what is found in an image ``[H, W, 3]`` that is not cut, in its pixels."""
        height, width = image.shape[:2]
        seen = planes(self.sides.inner(image))
        (found,) = self.detect([torch.from_numpy(seen)])
        return found.to("cpu").resized(torch.tensor(seen.shape[1:]), torch.tensor((height, width)))

    def __call__(self, image: PixelRows) -> Detections:
        """Return what is found in an image, in its pixels, on the processor, best first."""
        height, width = image.height, image.width
        whole = _Shrinking(image, self.sides.scale(height, width))
        found: list[Detections] = []
        cut: list[Tensor] = []

        def take(window: Window, seen: Tensor, one: Detections) -> None:
            inside = torch.tensor([window.y2 - window.y1, window.x2 - window.x1])
            here = one.to("cpu").resized(torch.tensor(seen.shape[1:]), inside)
            boxes = here.boxes_xyxy + torch.tensor([window.x1, window.y1] * 2)
            found.append(Detections(boxes, here.scores, here.labels))
            cut.append(cut_by(boxes, window, height, width))

        waiting: list[tuple[Window, Tensor]] = []
        for window, pixels in self._windows(image, whole):
            waiting.append((window, torch.from_numpy(planes(self.sides.inner(pixels)))))
            if len(waiting) == self.batch_size:
                self._look(waiting, take)
                waiting = []
        self._look(waiting, take)
        self._look([(Window(0, 0, width, height), whole.planes())], take)
        together = Detections(
            torch.cat([one.boxes_xyxy for one in found]),
            torch.cat([one.scores for one in found]),
            torch.cat([one.labels for one in found]),
        )
        return merged(together, torch.cat(cut), self.nms_iou)

    def _look(
        self,
        waiting: Sequence[tuple[Window, Tensor]],
        take: Callable[[Window, Tensor, Detections], None],
    ) -> None:
        if waiting:
            found = self.detect([seen for _, seen in waiting])
            for (window, seen), one in zip(waiting, found, strict=True):
                take(window, seen, one)

    def _windows(
        self, image: PixelRows, whole: _Shrinking
    ) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        """Yield the tiles, row by row; every pixel is read once, and shrunk on the way."""
        assert self.tiles is not None
        columns = self.tiles.columns(image.width)
        bands = self.tiles.rows(image.height)
        band = np.empty((bands[0][1], image.width, 3), dtype=np.uint8)
        end = 0
        for first, last in bands:
            kept = end - first
            if kept:
                band[:kept] = band[-kept:].copy()
            while end < last:
                new = image.rows(end, min(end + _ROWS, last))
                whole.add(new)
                band[end - first : end - first + len(new)] = new
                end += len(new)
            for left, right in columns:
                tile = np.ascontiguousarray(band[:, left:right])
                yield Window(left, first, right, last), tile


class _Shrinking:
    """Shrinks an image whose rows come a few at a time.

    They are resized as they come; where a row of the shrunk image ends within one of the large
    image's, that one counts for both of its neighbours. An image that is in memory is resized at
    once, to the pixels that it has without tiles.

    Args:
        image: to be shrunk.
        scale: by which; it may be above 1.
    """

    def __init__(self, image: PixelRows, scale: float) -> None:
        self._image = image
        self._scale = scale
        height, width = (max(1, round(side * scale)) for side in (image.height, image.width))
        at_once = isinstance(image, InMemory)
        self._small = np.zeros((0 if at_once else height, width, 3), dtype=np.uint8)
        self._rest = np.empty((0, image.width, 3), dtype=np.uint8)
        self._first, self._made = 0, 0  # row that the rest begins at; rows that are finished

    def add(self, rows: NDArray[np.uint8]) -> None:
        """Take the next rows."""
        made, height = len(self._small), self._image.height
        if made == 0:
            return
        band = np.concatenate([self._rest, rows]) if len(self._rest) else rows
        end = self._first + len(band)
        ready = made if end == height else end * made // height
        if ready > self._made:
            start = self._made * height // made
            stop = -(-ready * height // made)
            self._small[self._made : ready] = cv2.resize(
                np.ascontiguousarray(band[start - self._first : stop - self._first]),
                (self._small.shape[1], ready - self._made),
                interpolation=cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR,
            )
            self._made = ready
        begin = self._made * height // made
        self._rest = band[begin - self._first :].copy()
        self._first = begin

    def planes(self) -> Tensor:
        """Return ``[3, h, w]``, once all rows are there."""
        if isinstance(self._image, InMemory):
            return torch.from_numpy(planes(resized(self._image.pixels, self._scale)))
        return torch.from_numpy(planes(self._small))
