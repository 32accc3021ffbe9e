"""What people hold an image in, to RGB pixels: a file, a PIL image, an array or a tensor.

Files and PIL images are turned as their EXIF orientation says: nobody has annotated them as they
are stored. Otherwise the policy is that of ``data/images/``: alpha is dropped, of 16 bit the high
byte counts, grey stands for three equal colours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fcos_lightning.data.images import read_image, rgb_of
from fcos_lightning.errors import UserError

#: A path; a PIL image; an array ``[H, W, 3]``; a tensor ``[3, H, W]``.
AnyImage: TypeAlias = (
    "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | NDArray[np.uint16] | torch.Tensor"
)
SINGLE = (str, os.PathLike, Image.Image, np.ndarray, torch.Tensor)

_GIVE = "give a path, a PIL image, an array [H, W, 3] or a tensor [3, H, W]"


def rgb_pixels(image: AnyImage) -> NDArray[np.uint8]:
    """Return the pixels ``[H, W, 3]`` uint8 RGB of an image.

    Args:
        image: a path; a PIL image of any mode; an array ``[H, W, 3]`` of uint8 RGB; or a tensor
            ``[3, H, W]``. Arrays and tensors may have one channel (grey) or four (the fourth is
            alpha), grey ones two dimensions, and their type may be uint16.

    Raises:
        UserError: if a file cannot be read, or an array is of another shape or type.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(os.path.expanduser(os.fspath(image)))
        if path.is_dir():
            raise UserError(f"image {path} is a folder; give the files in it")
        return read_image(path, upright=True)
    if isinstance(image, Image.Image):
        return _of_pil(image)
    if isinstance(image, torch.Tensor):
        return _of_tensor(image)
    if isinstance(image, np.ndarray):
        return _of_array(image, f"an array {list(image.shape)}", "H, W, 3")
    raise UserError(f"an image cannot be a {type(image).__name__}; {_GIVE}")


def _of_pil(image: Image.Image) -> NDArray[np.uint8]:
    if min(image.size) == 0:
        raise UserError(f"a PIL image of {image.width} x {image.height} pixels holds nothing")
    try:
        return rgb_of(image, upright=True)
    except MemoryError:
        raise
    except Exception as error:  # as Pillow decodes only now: OSError, SyntaxError, struct.error ...
        name = getattr(image, "filename", "") or "image"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the PIL image {name} cannot be read: {reason}") from None


def _of_tensor(image: torch.Tensor) -> NDArray[np.uint8]:
    shape = list(image.shape)
    if image.layout != torch.strided or image.is_complex():
        raise UserError(f"a tensor of {image.layout} and {image.dtype} is no image; {_GIVE}")
    if image.ndim == 3 and image.shape[0] not in (1, 3, 4) and image.shape[2] in (1, 3, 4):
        raise UserError(f"a tensor {shape} is no image [3, H, W]; give tensor.permute(2, 0, 1)")
    array = image.detach().cpu()
    if array.dtype == torch.bfloat16:  # of which numpy knows nothing
        array = array.float()
    last = array.permute(1, 2, 0) if array.ndim == 3 else array
    return _of_array(last.numpy(), f"a tensor {shape}", "3, H, W")


def _of_array(array: NDArray[np.generic], what: str, wanted: str) -> NDArray[np.uint8]:
    """Return an array as RGB.

    Args:
        array: ``[H, W]``, or with 1, 3 or 4 channels ``[H, W, C]``.
        what: its words in messages, with the shape as it was given.
        wanted: the shape to give.
    """
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise UserError(f"{what} is no image [{wanted}]; give array.transpose(1, 2, 0)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        many = "; several images are given as a list" if array.ndim == 4 else ""
        raise UserError(f"{what} is no image; give [{wanted}]{many}")
    if array.size == 0:
        raise UserError(f"{what} holds no pixels; give [{wanted}]")
    if array.dtype == np.uint16:
        array = (array.astype(np.uint16, copy=False) >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UserError(
            f"{what} of {array.dtype} does not say which value is white; give uint8 from 0 to 255, "
            "RGB"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    colours = array[:, :, :3]
    return np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)), order="C")
