"""Parts of images that show what was found, for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import read_image
from fcos_lightning.doctor.check import Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding, Kind
from fcos_lightning.errors import UserError
from fcos_lightning.reports.pictures import picture_uri

#: Of each kind so many are shown, and so large.
SHOWN, _LONGEST_PX = 8, 360
#: Of the other boxes of an image so many are drawn.
_MOST_OTHERS = 60
#: Around a box so much of its own size is shown, and so many pixels at least.
_AROUND, _LEAST_PX = 0.75, 48


def shots_of(data: Examined, kind: Kind, advance: Callable[[], None]) -> list[dict[str, Any]]:
    """Return the first findings of a kind that an image shows, ready for the template.

    Args:
        data: that was examined.
        kind: of the findings.
        advance: called after each.
    """
    sets = {one.name: one for one in data.sets}
    shots: list[dict[str, Any]] = []
    for finding in kind.kept:
        if len(shots) >= SHOWN:
            break
        if finding.image is None or finding.split not in sets:
            continue
        panels = list(_panels(finding, sets, data.max_pixels))
        if panels:
            shots.append({"finding": finding, "panels": panels})
        advance()
    return shots


def _panels(
    finding: Finding, sets: dict[str, ExaminedSet], max_pixels: int
) -> Iterator[dict[str, Any]]:
    """Yield the picture of a finding, and of the image that it is like."""
    places = [(finding.split, finding.image, finding.box, finding.found)]
    if finding.like is not None:
        places.append((*finding.like, None, None))
    for name, image, box, found in places:
        if image is None:
            continue
        try:
            pixels = _pixels(sets[name], image, max_pixels)
        except UserError:
            continue  # that it cannot be read is a finding of its own
        shown = [one for one in (box, found) if one is not None]
        x1, y1, x2, y2 = region((pixels.shape[0], pixels.shape[1]), shown)
        yield {
            "uri": picture_uri(pixels[y1:y2, x1:x2], _LONGEST_PX),
            "width": x2 - x1,
            "height": y2 - y1,
            "file": str(sets[name].split.truth.file_names[image]),
            "boxes": [
                {
                    "kind": word,
                    "x": round(one[0] - x1, 1),
                    "y": round(one[1] - y1, 1),
                    "width": round(one[2] - one[0], 1),
                    "height": round(one[3] - one[1], 1),
                }
                for word, one in (
                    *(("neither", other) for other in _others(sets[name], image, box)),
                    *(("miss", box), ("hit", found)),
                )
                if one is not None
            ],
        }


def _others(
    one: ExaminedSet, image: int, box: tuple[float, float, float, float] | None
) -> list[tuple[float, float, float, float]]:
    """Return the image's other boxes, as many as a picture can show."""
    rows = range(*one.split.truth.rows(image).indices(len(one.split.truth.labels)))
    return [other for other in map(one.box, rows[:_MOST_OTHERS]) if other != box]


def _pixels(one: ExaminedSet, image: int, max_pixels: int) -> NDArray[np.uint8]:
    return read_image(one.split.path(image), max_pixels)


def region(
    size_hw: tuple[int, int], boxes: list[tuple[float, float, float, float]]
) -> tuple[int, int, int, int]:
    """Return the part of an image that shows boxes and what is around them, in whole pixels."""
    height, width = size_hw
    if not boxes:
        return 0, 0, width, height
    low = np.min([box[:2] for box in boxes], axis=0)
    high = np.max([box[2:] for box in boxes], axis=0)
    margin = np.maximum(_AROUND * (high - low), _LEAST_PX)
    x1, y1 = np.clip(np.floor(low - margin), 0, [width - 1, height - 1]).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(high + margin), [x1 + 1, y1 + 1], [width, height]).astype(int).tolist()
    return x1, y1, x2, y2
