"""The bytes that somebody sent, to an image as the detector looks at it."""

from __future__ import annotations

import logging
from typing import Protocol

from numpy import uint8
from numpy.typing import NDArray

from fcos_lightning.data.images import StoredImage, image_header, read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.serving.answers import Refused
from fcos_lightning.serving.json_log import tell

#: The guard against large images is ours, and names their size.
_ANY_SIZE = 2**70


class Prepares(Protocol):
    """What of a ``Predictor`` is needed here."""

    def prepared(self, image: NDArray[uint8]) -> Prepared:
        """Return an image as the detector looks at it."""


def prepared_upload(content: bytes, predictor: Prepares, max_pixels: int) -> Prepared:
    """Decode and resize an image, turned as its EXIF orientation says.

    Args:
        content: of a file, of any format that ``read_image`` knows.
        predictor: knows the size.
        max_pixels: larger images are refused by their header, before anything is decoded.

    Raises:
        Refused: if it is no image, damaged (422) or too large (413), or memory ends (500).
    """
    if not content:
        raise Refused(422, "the image is empty; send the bytes of an image file")
    stored = StoredImage("upload", content)
    try:
        height, width = image_header(stored, _ANY_SIZE).size_hw
        if height * width > max_pixels:
            raise Refused(
                413, f"the image has {width} x {height} pixels, more than the limit of {max_pixels}"
            )
        return predictor.prepared(read_image(stored, max_pixels, upright=True))
    except UserError as error:
        raise Refused(422, str(error)) from None
    except MemoryError:
        raise Refused(500, "the server has too little memory for this image") from None
    except Refused:
        raise
    except Exception as error:  # of one image; decoders raise as many kinds as there are formats
        tell(logging.WARNING, "an image was refused", reason=f"{type(error).__name__}: {error}")
        raise Refused(422, "the image cannot be read") from None
