"""TIFF files read a few rows at a time (TIFF 6.0, sections 3, 14 and 15; Adobe's tech note 3)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import LARGEST_PX, image_header, tiff_tags
from fcos_lightning.errors import UserError

#: Tags of TIFF 6.0.
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 317, 322, 323, 324, 325
_PLAIN, _DEFLATE = 1, (8, 32946)
#: What one row of strips or tiles may take in memory.
_MOST_BYTES = 400_000_000
_KINDS = "grey or RGB of 8 bit, uncompressed or deflate, in strips or tiles"


class DamagedImage(UserError):
    """A file turned out to be damaged after its first rows were read."""


def rows_of(path: Path) -> TiffRows | None:
    """Return the rows of a file that is too large to be read at once; None: it is not.

    Raises:
        UserError: if it is, and cannot be read in pieces.
    """
    header = image_header(path, max_pixels=2**60)
    height, width = header.size_hw
    if height * width <= LARGEST_PX:
        return None
    large = f"image {path} has {width} x {height} pixels, too many to be read at once"
    if header.format != "TIFF" or header.orientation != 1:
        raise UserError(f"{large}; of such only upright TIFF is read in pieces: {_KINDS}")
    tags = tiff_tags(path)
    bits = set(_numbers(tags, _BITS, 1))
    plain = (
        bits == {8} and _number(tags, _PLANAR, 1) == 1 and _number(tags, _PREDICTOR, 1) in (1, 2)
    )
    kinds = (_number(tags, _SAMPLES, 1), _number(tags, _PHOTOMETRIC, 1))
    known = kinds in ((1, 1), (3, 2), (4, 2)) and _number(tags, _COMPRESSION, 1) in (
        _PLAIN,
        *_DEFLATE,
    )
    if not (plain and known):
        raise UserError(f"{large}; a TIFF that is read in pieces is {_KINDS}: save it so")
    rows = TiffRows(path, tags)
    if rows.block_bytes > _MOST_BYTES:
        raise UserError(f"{large}; its strips are as large: save it in tiles, or in smaller strips")
    return rows


class TiffRows:
    """The rows of a TIFF, of which a row of strips or tiles is in memory at a time.

    Args:
        path: of the file.
        tags: its own, by their numbers.
    """

    def __init__(self, path: Path, tags: Mapping[int, Any]) -> None:
        self._path = path
        self.height, self.width = _number(tags, _LENGTH, 0), _number(tags, _WIDTH, 0)
        self._samples = _number(tags, _SAMPLES, 1)
        self._deflated = _number(tags, _COMPRESSION, 1) in _DEFLATE
        self._differences = _number(tags, _PREDICTOR, 1) == 2
        tiled = _TILES in tags
        self._block_width = _number(tags, _TILE_WIDTH, 0) if tiled else self.width
        self._block_height = (
            _number(tags, _TILE_LENGTH, 0)
            if tiled
            else min(_number(tags, _ROWS_PER_STRIP, self.height), self.height)
        )
        self._offsets = _numbers(tags, _TILES if tiled else _STRIPS, 0)
        self._sizes = _numbers(tags, _TILE_BYTES if tiled else _STRIP_BYTES, 0)
        if min(self._block_width, self._block_height) < 1:
            raise UserError(f"image {path} cannot be read: it has tiles of no size")
        self._across = -(-self.width // self._block_width)
        blocks = self._across * -(-self.height // self._block_height)
        if not len(self._offsets) == len(self._sizes) == blocks:
            raise UserError(f"image {path} cannot be read: it has not the {blocks} pieces it says")
        self._kept: tuple[int, NDArray[np.uint8]] | None = None

    @property
    def block_bytes(self) -> int:
        """Memory for a row of strips or tiles."""
        return self._across * self._block_width * self._block_height * max(self._samples, 3)

    def rows(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return ``[last - first, W, 3]`` uint8 RGB.

        Raises:
            DamagedImage: if the file is.
        """
        wanted = np.empty((last - first, self.width, 3), dtype=np.uint8)
        for block in range(first // self._block_height, -(-last // self._block_height)):
            top = block * self._block_height
            start, stop = max(first, top), min(last, top + self._block_height)
            wanted[start - first : stop - first] = self._block_row(block)[start - top : stop - top]
        return wanted

    def _block_row(self, block: int) -> NDArray[np.uint8]:
        if self._kept is None or self._kept[0] != block:
            self._kept = None  # before the next one needs its memory
            across = range(block * self._across, (block + 1) * self._across)
            # The last strip has only the rows that are left; the last tile has all of them.
            height = self._block_height
            if self._block_width == self.width:
                height = min(height, self.height - block * self._block_height)
            row = np.empty((height, self._across * self._block_width, 3), dtype=np.uint8)
            try:
                with self._path.open("rb") as file:
                    for place, one in enumerate(across):
                        file.seek(self._offsets[one])
                        left = place * self._block_width
                        row[:, left : left + self._block_width] = self._block(
                            file.read(self._sizes[one]), height, block
                        )
            except (OSError, ValueError, zlib.error) as error:
                reason = str(error) or type(error).__name__
                raise DamagedImage(f"image {self._path} cannot be read: {reason}") from None
            self._kept = block, row[:, : self.width]
        return self._kept[1]

    def _block(self, content: bytes, height: int, block: int) -> NDArray[np.uint8]:
        """Return ``[height, width of a block, 1 or 3]``."""
        shape = (height, self._block_width, self._samples)
        size = height * self._block_width * self._samples
        if self._deflated:
            content = zlib.decompressobj().decompress(content, size)
        values = np.frombuffer(content, dtype=np.uint8)[:size]
        if len(values) < size:
            raise ValueError(f"it ends before its row {block * self._block_height + height}")
        values = values.reshape(shape)
        if self._differences:
            values = np.cumsum(values, axis=1, dtype=np.uint8)
        return values[:, :, :3]


def _numbers(tags: Mapping[int, Any], tag: int, absent: int) -> tuple[int, ...]:
    value = tags.get(tag, absent)
    return tuple(map(int, value)) if isinstance(value, tuple | list) else (int(value),)


def _number(tags: Mapping[int, Any], tag: int, absent: int) -> int:
    return _numbers(tags, tag, absent)[0]
