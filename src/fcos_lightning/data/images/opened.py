"""Image files opened by Pillow: of which formats, how large at most, and what their beginning says.

Whatever is wrong with a file is said in one line that names it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from fcos_lightning.data.images.orientation import is_turned_by
from fcos_lightning.errors import UserError
from fcos_lightning.storage.small_files import is_pipe_or_device

# Pillow would also hand a file named .jpg to Ghostscript if it held PostScript: a program.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "MPO", "TGA")

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

#: By these endings a folder's or glob's images are told from its other files. They belong to the
#: formats that ``read_image`` knows.
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".mpo", ".tga"),
)


@dataclass(frozen=True)
class StoredImage:
    """An image file that is no file by itself, as a member of an archive.

    Attributes:
        name: for messages.
        content: its bytes.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


#: Pixels of the largest image that is read at once, unless the caller says otherwise.
LARGEST_PX = 100_000_000
#: What an image is read from.
ImageSource: TypeAlias = Path | StoredImage


def image_size(path: ImageSource) -> tuple[int, int]:
    """Read height and width of the stored pixels from the header alone.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with opened(path) as image:
        return stored_size(image)


def image_frame(path: ImageSource) -> tuple[tuple[int, int], int]:
    """Read height and width of the stored pixels, and the EXIF orientation, 1 to 8.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with opened(path) as image:
        return stored_size(image), orientation_of(image)


@dataclass(frozen=True)
class ImageHeader:
    """What the beginning of an image file says.

    Attributes:
        format: as Pillow calls it, whatever the file's name ends in.
        size_hw: of the stored pixels.
        orientation: EXIF's, 1 to 8.
    """

    format: str
    size_hw: tuple[int, int]
    orientation: int


def image_header(path: ImageSource, max_pixels: int = LARGEST_PX) -> ImageHeader:
    """Read what kind of image a file is, without its pixels.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with opened(path, max_pixels) as image:
        return ImageHeader(str(image.format), stored_size(image), orientation_of(image))


def tiff_tags(path: ImageSource) -> dict[int, Any]:
    """Read the tags of a TIFF's first image by their numbers; none of another format's.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with opened(path, max_pixels=2**60) as image:
        if not isinstance(image, TiffImagePlugin.TiffImageFile):
            return {}
        return {int(tag): value for tag, value in image.tag_v2.items()}


def belongs_to(ending: str, format: str) -> bool:
    """Tell whether a file's ending, in lower case with its dot, is one of an image format's."""
    Image.init()
    known = Image.registered_extensions().get(ending)
    pairs = {known, format}
    # Phones call their pictures JPEG that hold a second one, or a map of depth.
    return known == format or pairs == {"JPEG", "MPO"}


def is_turned(path: ImageSource) -> bool:
    """Tell whether a tag says that an image is to be shown with width and height exchanged.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with opened(path) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)


@contextlib.contextmanager
def opened(path: ImageSource, max_pixels: int = LARGEST_PX) -> Iterator[Image.Image]:
    """Open an image lazily.

    Raises:
        UserError: whatever goes wrong until it is closed; it names the file.
    """
    if isinstance(path, Path) and is_pipe_or_device(path):
        raise UserError(f"image {path} is no file, but a pipe or a device")
    try:
        # Pillow warns of large images, odd palettes and broken metadata; our cap decides instead.
        with _PILLOW.quiet(max_pixels):
            file = io.BytesIO(path.content) if isinstance(path, StoredImage) else path
            with Image.open(file, formats=_known_formats()) as image:
                yield image
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"image {path} is too large: {error}") from None
    except UnidentifiedImageError:
        if _is_heic(path):
            raise UserError(f"{path} is a HEIC picture: convert it to JPEG or PNG") from None
        raise UserError(f"{path} is not an image that can be read, or is damaged") from None
    except Exception as error:
        # Pillow's plugins raise OSError, SyntaxError, struct.error, IndexError and more.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"image {path} cannot be read: {reason}") from None


class _Pillow:
    """Pillow's settings of the whole process, which images in several threads share.

    Whoever is first changes them, and whoever is last puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: int | None = None
        self._warnings = warnings.catch_warnings()

    @contextlib.contextmanager
    def quiet(self, max_pixels: int) -> Iterator[None]:
        """Silence warnings, and let Pillow's own guard, at twice its limit, not be below ours."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = Image.MAX_IMAGE_PIXELS
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore")
            if Image.MAX_IMAGE_PIXELS is not None:
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    Image.MAX_IMAGE_PIXELS = self._before
                    self._warnings.__exit__(None, None, None)


_PILLOW = _Pillow()


def _is_heic(path: ImageSource) -> bool:
    """Tell by the brand in the first box of the file, ISO/IEC 23008-12; phones write such."""
    if isinstance(path, StoredImage):
        start = path.content[:12]
    else:
        with path.open("rb") as file:
            start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return height and width of the pixels as they are stored."""
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow reports the size of a TIFF as turned by its orientation.
        width = int(image.tag_v2[TiffImagePlugin.IMAGEWIDTH])
        height = int(image.tag_v2[TiffImagePlugin.IMAGELENGTH])
    return height, width


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 is upright, and where metadata are broken."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's readers of metadata raise as many kinds as its decoders
        return 1
    return orientation if is_turned_by(orientation) else 1
