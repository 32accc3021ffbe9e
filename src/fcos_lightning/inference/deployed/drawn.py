"""Drawn pictures on which a file is held against its detector, where no data set is at hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.resizing import Sides
from fcos_lightning.data.shapes.drawn import draw_image

#: How many are looked at before a file is written.
NUMBER = 20
#: What a picture's shorter side is of its longer one; in turn.
_ASPECTS = (1.0, 0.75, 0.6)
_PX = 256


def drawn_pictures(sides: Sides, number: int = NUMBER) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield pictures of shapes as the detector sees them, wide and high ones, and their names."""
    for place in range(number):
        image, _ = draw_image("val", place, size=_PX)
        cut = image[: round(_PX * _ASPECTS[place % len(_ASPECTS)])]
        turned = np.ascontiguousarray(cut.transpose(1, 0, 2)) if place % 2 else cut
        yield f"drawn {place}", sides.seen(turned)
