"""Images as the bytes of a file, to be written whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401  # of the kind
    """Return what a file with an image holds.

    Pillow passes over what a full disk has not taken when it writes into a file itself, and leaves
    half of an image without a word.

    Args:
        image: to be kept.
        kind: ``JPEG``, ``PNG`` and so on, or the name of a file that tells by its ending.
        options: of ``Image.save``.
    """
    file = io.BytesIO()
    ending = Path(kind).suffix.lower()
    image.save(file, Image.registered_extensions()[ending] if ending else kind, **options)
    return file.getvalue()
