"""Images as they stand in a page: small JPEGs in its text."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: The longest side of a picture in a page, in pixels.
LONGEST_PX = 640


def picture_uri(pixels: NDArray[np.uint8], longest: int = LONGEST_PX) -> str:
    """Return an image as a ``data:`` address.

    Args:
        pixels: ``[H, W, 3]`` uint8 RGB.
        longest: larger images are made smaller, to this many pixels on their longer side.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    # Few pixels show each of JPEG's blocks, and cost nothing.
    if max(image.size) < 200:
        image.save(file, "PNG")
        kind = "png"
    else:
        image.save(file, "JPEG", quality=78)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
