"""Looking in tiles with a detector that is right about what it sees: white shapes on black."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fcos_lightning.data.resizing import resized
from fcos_lightning.inference.tiling.looking import InTiles, _Shrinking
from fcos_lightning.inference.tiling.rows import InMemory
from fcos_lightning.inference.tiling.windows import Tiles
from fcos_lightning.structures import Detections


class White:
    """Finds what is white, and at least some pixels large; counts what it is shown."""

    def __init__(self, least_px: int = 6) -> None:
        self.least_px = least_px
        self.batches: list[list[tuple[int, ...]]] = []

    def __call__(self, images: Sequence[Tensor]) -> list[Detections]:
        self.batches.append([tuple(image.shape) for image in images])
        found = []
        for image in images:
            mask = (image[0].numpy() > 127).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            rows = [row for row in stats[1:].tolist() if min(row[2:4]) >= self.least_px]
            boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in rows]
            found.append(
                Detections(
                    torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                    torch.full((len(rows),), 0.9),
                    torch.zeros(len(rows), dtype=torch.int64),
                )
            )
        return found


class FromFile:
    """Rows as a file gives them: each once, in their order."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.read: list[tuple[int, int]] = []

    def rows(self, first: int, last: int) -> np.ndarray:
        assert first == (self.read[-1][1] if self.read else 0)
        self.read.append((first, last))
        return self._pixels[first:last].copy()


def scene(height: int, width: int, boxes: list[list[int]]) -> np.ndarray:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def grid_of_small(height: int, width: int) -> list[list[int]]:
    return [
        [x, y, x + 12, y + 12] for y in range(5, height - 14, 31) for x in range(7, width - 14, 37)
    ]


def sorted_boxes(found: Detections) -> list[list[float]]:
    return sorted(found.boxes_xyxy.round().tolist())


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("source", [InMemory, FromFile])
def test_every_small_object_is_found_once_where_it_is(source: type, batch_size: int) -> None:
    boxes = grid_of_small(700, 500)
    image = scene(700, 500, boxes)
    tiles = Tiles(160, 160, 0.2, small_are_whole=False)
    white = White()
    looking = InTiles(white, tiles, (160, 200), nms_iou=0.6, batch_size=batch_size)
    assert looking.cuts(700, 500) and not looking.cuts(160, 100)
    found = looking(source(image))
    assert sorted_boxes(found) == [list(map(float, box)) for box in sorted(boxes)]
    # As a whole, shrunk to 143 x 200, none of them has six pixels.
    assert len(looking.whole(image)) == 0
    assert max(map(len, white.batches)) == batch_size
    assert all(shape == (3, 160, 160) for batch in white.batches[:-2] for shape in batch)


def test_what_is_larger_than_a_tile_is_seen_in_the_whole() -> None:
    boxes = [[40, 40, 600, 420], [700, 500, 712, 512]]
    image = scene(600, 800, boxes)
    looking = InTiles(White(), Tiles(160, 160, 0.2, False), (300, 400), nms_iou=0.6)
    found = looking(InMemory(image))
    large = found.boxes_xyxy[(found.boxes_xyxy[:, 2] - found.boxes_xyxy[:, 0]) > 300]
    np.testing.assert_allclose(large, [boxes[0]], atol=3)  # and none of its parts
    assert len(found) == 2


def test_tiles_are_resized_as_images_of_their_size_are() -> None:
    white = White()
    InTiles(white, Tiles(100, 50, 0.0, False), (64, 200), 0.6)(InMemory(scene(200, 100, [])))
    tiles, whole = white.batches[:-1], white.batches[-1]
    assert [shape for batch in tiles for shape in batch] == [(3, 128, 64)] * 4
    assert whole == [(3, 128, 64)]


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(701, 400, 0.237), (333, 90, 0.9), (64, 50, 1.7)]
)
def test_an_image_that_comes_in_rows_is_shrunk_as_at_once(
    height: int, width: int, scale: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height // 20 + 1, width // 20 + 1, 3))
    image = cv2.resize(noise.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    whole = _Shrinking(FromFile(image), scale)
    for first in range(0, height, 67):
        whole.add(image[first : first + 67])
    given = whole.planes().numpy().transpose(1, 2, 0).astype(int)
    expected = resized(image, scale).astype(int)
    assert given.shape == expected.shape
    assert np.abs(given - expected).mean() < 2
    # Nothing is shifted: the next row or column would be much further off.
    assert np.abs(given[1:] - expected[:-1]).mean() > 2 * np.abs(given - expected).mean()
