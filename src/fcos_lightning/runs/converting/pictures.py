"""Pictures on which a file is held against the detector that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.index import DataSplit
from fcos_lightning.data.modules import ShapesDataModule
from fcos_lightning.data.resizing import fitting_scale, resized
from fcos_lightning.data.shapes.drawn import draw_image
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError

#: How many are looked at.
NUMBER = 20
#: Of a picture that is drawn, what its shorter side is of its longer one; in turn.
_ASPECTS = (1.0, 0.75, 0.6)


@dataclass(frozen=True)
class Sides:
    """How large a detector sees pictures.

    Attributes:
        shorter: side in pixels after resizing.
        longer: what the longer side may at most become.
        size_hw: height and width that every picture has, black beside what it holds; None: its own.
    """

    shorter: int
    longer: int
    size_hw: tuple[int, int] | None = None

    def seen(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image ``[H, W, 3]`` as the detector sees it."""
        small = resized(image, self._scale(*image.shape[:2]))
        if self.size_hw is None:
            return small
        small = small[: self.size_hw[0], : self.size_hw[1]]
        whole = np.zeros((*self.size_hw, 3), np.uint8)
        whole[: small.shape[0], : small.shape[1]] = small
        return whole

    def inner_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of what an image of a given size becomes, without black."""
        scale = self._scale(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _scale(self, height: int, width: int) -> float:
        if self.size_hw is None:
            return fitting_scale(height, width, self.shorter, self.longer)
        return min(self.size_hw[0] / height, self.size_hw[1] / width)


def split_of(
    datamodule: DetectionDataModule, detector: DenseDetector, draw: bool = False
) -> DataSplit | None:
    """Return the split that a detector is measured on; None: it would have to be drawn first.

    Args:
        datamodule: that reads it.
        detector: says which classes there are.
        draw: whether to draw it then.

    Raises:
        UserError: if it cannot be read, or the detector does not name its classes.
    """
    if detector.class_names is None or detector.category_ids is None:
        raise UserError("the checkpoint does not name its classes")
    if not draw and isinstance(datamodule, ShapesDataModule) and not datamodule.root.is_dir():
        return None
    return datamodule.read_val(detector.class_names, detector.category_ids)


def pictures_of(
    split: DataSplit, sides: Sides, max_pixels: int, number: int = NUMBER
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield pictures from all over a split as the detector sees them, and their names.

    Raises:
        UserError: if one cannot be read.
    """
    for place in split.evenly(number):
        image = split.image(place, max_pixels)
        yield str(split.truth.file_names[place]), sides.seen(image)


def drawn_pictures(sides: Sides, number: int = NUMBER) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield pictures of shapes as the detector sees them, wide and high ones, and their names."""
    for place in range(number):
        image, _ = draw_image("val", place, size=256)
        cut = image[: round(256 * _ASPECTS[place % len(_ASPECTS)])]
        turned = np.ascontiguousarray(cut.transpose(1, 0, 2)) if place % 2 else cut
        yield f"drawn {place}", sides.seen(turned)
