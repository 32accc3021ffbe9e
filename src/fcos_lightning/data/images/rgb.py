"""The pixels of an image of any mode, as RGB."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from fcos_lightning.data.images.opened import (
    LARGEST_PX,
    ImageSource,
    StoredImage,
    opened,
    orientation_of,
    stored_size,
)
from fcos_lightning.errors import UserError

_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


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
    with opened(path, max_pixels) as image:
        height, width = stored_size(image)
        if height * width > max_pixels:
            raise UserError(
                f"image {path} has {width} x {height} pixels, more than the limit of "
                f"{max_pixels}: make it smaller, or raise data.max_pixels in training"
            )
        is_plain_jpeg = image.format == "JPEG" and image.mode in ("RGB", "L")
        if is_plain_jpeg and not (upright and orientation_of(image) != 1):
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
        if orientation_of(image) != 1:
            image = ImageOps.exif_transpose(image)
    return _to_rgb(image)


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
