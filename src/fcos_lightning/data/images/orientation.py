"""Boxes of an image as it is looked at, in the frame of its pixels as they are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: From a box's upright frame to the one stored, by the EXIF orientation of its image: whether x
#: and y change places, and then which of them run the other way.
_STORED = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def is_turned_by(orientation: int) -> bool:
    """Tell whether an EXIF orientation, 1 to 8, turns or mirrors its image."""
    return orientation in _STORED


def as_stored(xyxy: NDArray[np.float64], orientation: int) -> NDArray[np.float64]:
    """Return boxes of the upright image in the frame of its stored pixels, both in fractions.

    Args:
        xyxy: ``[K, 4]`` parts of the upright image's width and height.
        orientation: EXIF's, 1 to 8.
    """
    if orientation not in _STORED:
        return xyxy
    exchanged, x_back, y_back = _STORED[orientation]
    x1, y1, x2, y2 = xyxy.T
    if exchanged:
        x1, y1, x2, y2 = y1, x1, y2, x2
    if x_back:
        x1, x2 = 1 - x2, 1 - x1
    if y_back:
        y1, y2 = 1 - y2, 1 - y1
    return np.stack([x1, y1, x2, y2], axis=1)
