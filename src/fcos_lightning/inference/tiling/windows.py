"""Where the tiles of an image lie."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from fcos_lightning.errors import UserError

#: Smaller ones would be mostly overlap, and a net sees nothing in them.
_LEAST_PX = 32
_GIVE = "give auto, or a size in pixels as 640x640 (height x width)"


@dataclass(frozen=True)
class Window:
    """A part of an image, in its whole pixels; ``x2`` and ``y2`` are outside."""

    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True)
class Tiles:
    """How images are cut.

    Attributes:
        height: of a tile in pixels of the image.
        width: likewise.
        overlap: share of a tile's side that it has in common with its neighbour, at least.
        small_are_whole: leave images alone that are not shrunk to be looked at.
    """

    height: int
    width: int
    overlap: float
    small_are_whole: bool

    @classmethod
    def of(cls, given: str, overlap: float, shorter_side: int) -> Tiles:
        """Return what a user asks for.

        Args:
            given: ``auto``: squares of the detector's shorter side, so that nothing is resized,
                of images that would be shrunk; or ``HEIGHTxWIDTH``, of all that are larger.
            overlap: share of a tile's side.
            shorter_side: to which the detector has images resized.

        Raises:
            UserError: if it is neither, or a number is out of its range.
        """
        is_number = isinstance(overlap, int | float) and not isinstance(overlap, bool)
        if not is_number or not 0 <= overlap <= 0.5:
            raise UserError(f"tiles_overlap={overlap}: give 0 to 0.5, a share of a tile's side")
        if given == "auto":
            return cls(max(shorter_side, _LEAST_PX), max(shorter_side, _LEAST_PX), overlap, True)
        sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(given))
        if sides is None:
            raise UserError(f"tiles={given}: {_GIVE}")
        height, width = int(sides[1]), int(sides[2])
        if min(height, width) < _LEAST_PX:
            raise UserError(f"tiles={given}: give at least {_LEAST_PX} pixels a side")
        if max(height, width) > 10_000:
            raise UserError(f"tiles={given}: give at most 10000 pixels a side")
        return cls(height, width, overlap, False)

    def cut(self, height: int, width: int, scale: float) -> bool:
        """Tell whether an image is looked at in tiles.

        Args:
            height: of the image in pixels.
            width: likewise.
            scale: by which it would be resized as a whole.
        """
        if self.small_are_whole and scale >= 1:
            return False
        return height > self.height or width > self.width

    def rows(self, height: int) -> list[tuple[int, int]]:
        """Return where the rows of tiles begin and end in an image of a height."""
        return _spread(height, self.height, self.overlap)

    def columns(self, width: int) -> list[tuple[int, int]]:
        """Return where the columns of tiles begin and end in an image of a width."""
        return _spread(width, self.width, self.overlap)


def _spread(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """Return as few pieces of one length as overlap enough, evenly spread, the last at the end."""
    if length <= side:
        return [(0, length)]
    step = max(1, math.floor(side * (1 - overlap)))
    count = math.ceil((length - side) / step) + 1
    starts = [round(place * (length - side) / (count - 1)) for place in range(count)]
    return [(start, start + side) for start in starts]
