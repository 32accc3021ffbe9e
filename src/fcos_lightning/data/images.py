"""Image files to RGB pixels, under one policy wherever an image is read.

The policy is *the stored pixels*. An EXIF orientation is ignored, because COCO's annotations refer
to the pixels as stored; only images without annotations are read ``upright``, as the camera means
them. Alpha is dropped, not blended: the stored colour counts, whatever it was
meant to be shown on. Deep greyscale keeps its high byte, which is what Pillow and libpng do with
48-bit colour. Of an animation the first frame is read.
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

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from fcos_lightning.errors import UserError
from fcos_lightning.storage.small_files import is_pipe_or_device

# Pillow would also hand a file named .jpg to Ghostscript if it held PostScript: a program.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "MPO", "TGA")

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

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


def read_image(
    path: ImageSource, max_pixels: int = LARGEST_PX, upright: bool = False
) -> NDArray[np.uint8]:
    """Read an image of any mode: JPEG, PNG, BMP, GIF, TIFF, WebP, PPM, JPEG 2000, AVIF or TGA.

    Args:
        path: the file.
        max_pixels: larger images are refused from their header, before anything is decoded.
        upright: turn it as its EXIF orientation says.

    Returns:
        ``[H, W, 3]`` uint8 RGB, contiguous and writable.

    Raises:
        UserError: if the file is missing, truncated, no image or too large; it names the file.
    """
    with _opened(path, max_pixels) as image:
        height, width = _stored_size(image)
        if height * width > max_pixels:
            raise UserError(
                f"image {path} has {width} x {height} pixels, more than the limit of "
                f"{max_pixels}: make it smaller, or raise data.max_pixels in training"
            )
        is_plain_jpeg = image.format == "JPEG" and image.mode in ("RGB", "L")
        if is_plain_jpeg and not (upright and _orientation(image) != 1):
            with contextlib.suppress(RuntimeError):
                return _decode_jpeg(path)
        return rgb_of(image, upright)


def rgb_of(image: Image.Image, upright: bool = False) -> NDArray[np.uint8]:
    """Return the pixels ``[H, W, 3]`` uint8 RGB of an image of any mode.

    Args:
        image: opened by Pillow; a TIFF that is loaded already is upright.
        upright: turn it as its EXIF orientation says.
    """
    if upright:
        image.load()
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
    return _to_rgb(image)


def image_size(path: ImageSource) -> tuple[int, int]:
    """Read height and width of the stored pixels from the header alone.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with _opened(path) as image:
        return _stored_size(image)


def image_frame(path: ImageSource) -> tuple[tuple[int, int], int]:
    """Read height and width of the stored pixels, and the EXIF orientation, 1 to 8.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with _opened(path) as image:
        return _stored_size(image), _orientation(image)


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
    with _opened(path, max_pixels) as image:
        return ImageHeader(str(image.format), _stored_size(image), _orientation(image))


def tiff_tags(path: ImageSource) -> dict[int, Any]:
    """Read the tags of a TIFF's first image by their numbers; none of another format's.

    Raises:
        UserError: if the file is missing or no image; it names the file.
    """
    with _opened(path, max_pixels=2**60) as image:
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
    with _opened(path) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)


@contextlib.contextmanager
def _opened(path: ImageSource, max_pixels: int = LARGEST_PX) -> Iterator[Image.Image]:
    """Open an image lazily; whatever goes wrong until it is closed becomes a ``UserError``."""
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
        with path.open("rb") as opened:
            start = opened.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _stored_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow reports the size of a TIFF as turned by its orientation.
        width = int(image.tag_v2[TiffImagePlugin.IMAGEWIDTH])
        height = int(image.tag_v2[TiffImagePlugin.IMAGELENGTH])
    return height, width


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 is upright, and where metadata are broken."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's readers of metadata raise as many kinds as its decoders
        return 1
    return orientation if orientation in _UNDO_ORIENTATION else 1


def _decode_jpeg(path: ImageSource) -> NDArray[np.uint8]:
    """Decode a colour or grey JPEG to the very pixels that Pillow gives, in less time.

    torchvision brings the same libjpeg-turbo and lets it write RGB, where Pillow has it write four
    bytes a pixel and packs them again. Like Pillow it refuses a truncated file, which
    OpenCV's decoder completes with grey.

    Raises:
        RuntimeError: if the file is damaged, or torchvision was built without libjpeg; Pillow is
            then asked, which can say what is wrong.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    if isinstance(path, StoredImage):
        content = np.frombuffer(bytearray(path.content), dtype=np.uint8)  # torch wants to write
    else:
        content = np.fromfile(path, dtype=np.uint8)
    chw: torch.Tensor = decode_jpeg(torch.from_numpy(content), mode=ImageReadMode.RGB)
    # A view: in memory the colours of a pixel lie beside one another already.
    return np.ascontiguousarray(chw.permute(1, 2, 0).numpy())


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    stored = image
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow turns a TIFF while loading, and no other format: turn it back.
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.load()
        if orientation in _UNDO_ORIENTATION:
            stored = image.transpose(_UNDO_ORIENTATION[orientation])
    if stored.mode.startswith("I;16"):
        return _grey_to_rgb(np.asarray(stored).astype(np.int64) >> 8)
    if stored.mode in ("I", "F"):
        return _grey_to_rgb(_deep_grey_to_8_bit(np.asarray(stored)))
    return np.array(stored if stored.mode == "RGB" else stored.convert("RGB"))


def _deep_grey_to_8_bit(grey: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.float64]:
    """Scale 32-bit greys, whose format states no range, by the range the values fit.

    Integers within 16 bit are 16-bit (Pillow widens those of some formats) and floats within 0 to
    1 are fractions; anything else is stretched from its own minimum to its own maximum.
    """
    values = np.nan_to_num(grey.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if grey.dtype.kind == "i" and low >= 0 and high <= 65535:
        return np.floor(values / 256)
    if grey.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.round(values * 255)
    span = high - low if high > low else 1.0
    return np.round((values - low) * (255 / span))


def _grey_to_rgb(grey: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
