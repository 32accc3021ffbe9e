"""What image files are: decoded each once, a few at a time, and remembered in a few bytes each.

Legend: ``N`` images of a set.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import ImageHeader, StoredImage, image_header, read_image
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.stores.ahead import in_a_row
from fcos_lightning.data.stores.loose import content_digest, digest_of
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.errors import UserError
from fcos_lightning.processors import processor_count
from fcos_lightning.storage.small_files import is_pipe_or_device

#: Side of the small grey copy that the hash is made of, and of the one that is kept.
_GREY_PX, _SMALL_PX = 32, 16
#: Rows and columns of its cosine transform that the hash is made of.
_WAVES = 8
#: An image whose grey values spread by less than this has nothing on it.
_BLANK = 1.5


@dataclass
class ImageFacts:
    """What is known of the files of a set.

    Attributes:
        missing: images that are not there.
        bad: why images cannot be read, by their positions.
        too_large: sizes of images beyond ``max_pixels``.
        empty: images of no byte.
        formats: what files really are, as Pillow calls it; empty where nothing can tell.
        sizes_hw: ``[N, 2]`` stored pixels, zeros where nothing can tell.
        orientation: ``[N]`` EXIF's, 1 is upright.
        digest: ``[N, 16]`` of the files' bytes.
        hashes: ``[N]`` uint64, alike for pictures that look alike.
        small: ``[N, 16, 16]`` grey copies.
        blank: ``[N]`` bool: nothing is on it.
        seen: ``[N]`` bool: it could be read.
    """

    formats: list[str]
    sizes_hw: NDArray[np.int64]
    orientation: NDArray[np.uint8]
    digest: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    small: NDArray[np.uint8]
    blank: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    missing: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    too_large: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of_none(cls, count: int) -> ImageFacts:
        """Return room for so many images."""
        return cls(
            [""] * count,
            np.zeros((count, 2), np.int64),
            np.ones(count, np.uint8),
            np.zeros((count, 16), np.uint8),
            np.zeros(count, np.uint64),
            np.zeros((count, _SMALL_PX, _SMALL_PX), np.uint8),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )


@dataclass(frozen=True)
class _Seen:
    header: ImageHeader | None = None
    digest: bytes = b""
    hash: int = 0
    small: NDArray[np.uint8] | None = None
    blank: bool = False
    missing: bool = False
    empty: bool = False
    too_large: bool = False
    bad: str = ""


def look_at_images(
    split: DataSplit, max_pixels: int, advance: Callable[[], None] = lambda: None
) -> ImageFacts:
    """Look at every image file of a set.

    Args:
        split: the set.
        max_pixels: larger images are not decoded.
        advance: called after each.
    """
    facts = ImageFacts.of_none(len(split))
    with ThreadPoolExecutor(min(processor_count(), 8)) as pool:
        for some in in_a_row(split.images, len(split)):
            looks = pool.map(lambda image: _look(split, image, max_pixels), some.tolist())
            for image, seen in zip(some.tolist(), looks, strict=True):
                _note(facts, image, seen)
                advance()
    return facts


def _note(facts: ImageFacts, image: int, seen: _Seen) -> None:
    if seen.missing:
        facts.missing.append(image)
    if seen.empty:
        facts.empty.append(image)
    if seen.bad:
        facts.bad[image] = seen.bad
    if seen.digest:
        facts.digest[image] = np.frombuffer(seen.digest, np.uint8)
    if seen.header is not None:
        facts.formats[image] = seen.header.format
        facts.sizes_hw[image] = seen.header.size_hw
        facts.orientation[image] = seen.header.orientation
        if seen.too_large:
            facts.too_large[image] = seen.header.size_hw
    if seen.small is not None:
        facts.small[image], facts.hashes[image] = seen.small, seen.hash
        facts.blank[image], facts.seen[image] = seen.blank, True


def _look(split: DataSplit, image: int, max_pixels: int) -> _Seen:
    header: ImageHeader | None = None
    digest = b""
    try:
        source = split.source(image)
        if isinstance(source, StoredImage):
            size, digest = len(source.content), digest_of(source.content)
        else:
            size, digest = source.stat().st_size, content_digest(source) or b""
        if size == 0 and not (isinstance(source, Path) and is_pipe_or_device(source)):
            return _Seen(empty=True)
        header = image_header(source, max_pixels)
        height, width = header.size_hw
        if height * width > max_pixels:
            return _Seen(header, digest, too_large=True)
        pixels = read_image(source, max_pixels)
    except StoreError:  # nothing of the place can be read
        raise
    except FileNotFoundError:
        return _Seen(missing=True)
    except (UserError, OSError) as error:
        return _Seen(header, digest, bad=str(error))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    tiny = cv2.resize(grey, (_GREY_PX, _GREY_PX), interpolation=cv2.INTER_AREA)
    small = cv2.resize(tiny, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
    blank = float(grey.std()) < _BLANK and int(grey.max()) - int(grey.min()) < 8
    return _Seen(
        header, digest, perceptual_hash(tiny.astype(np.uint8)), small.astype(np.uint8), blank
    )


def perceptual_hash(grey: NDArray[np.uint8]) -> int:
    """Return 64 bits that stay nearly the same when a picture is resized or compressed anew.

    Which of the lowest 64 coefficients of the cosine transform are above their median, the mean
    brightness left out of that: "pHash", Zauner, "Implementation and Benchmarking of Perceptual
    Image Hash Functions", 2010, section 3.2.

    Args:
        grey: ``[32, 32]`` uint8.
    """
    waves = cv2.dct(grey.astype(np.float32))[:_WAVES, :_WAVES].flatten()
    bits = waves > np.median(waves[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
