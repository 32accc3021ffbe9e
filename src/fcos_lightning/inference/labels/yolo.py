"""A data set in the text format of the YOLO family."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from fcos_lightning.inference.labels.found import Found, Place, text_of

#: Of fractions: a thousandth of a pixel of an image of 10,000.
_DIGITS = 7


class YoloLabels:
    """``labels/NAME.txt``, ``data.yaml`` and ``classes.txt``.

    A line is a class from 0, and centre, width and height as parts of the image as it is looked
    at. Scores are left out: a line with a sixth number is no label to all readers.

    Args:
        place: where to write.
    """

    left_out = 0

    def __init__(self, place: Place) -> None:
        self._folder = place.folder / "labels"
        self._folder.mkdir()
        names = [spelt_out(name) for name in place.classes.names]
        lines = [f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(names)]
        (place.folder / "data.yaml").write_text(
            "train: images\nnames:\n" + "".join(lines), encoding="utf-8"
        )
        (place.folder / "classes.txt").write_text(
            "".join(f"{name}\n" for name in names), encoding="utf-8"
        )

    def write(self, found: Found) -> None:
        """Write the file of an image, empty where nothing was found."""
        height, width = found.upright_hw
        lines = []
        for label, (x1, y1, x2, y2) in zip(found.labels, found.upright_xyxy.tolist(), strict=True):
            box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
            parts = (*box, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{label} {' '.join(text_of(part, _DIGITS) for part in parts)}\n")
        file = self._folder / PurePosixPath(found.picture.name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")

    def close(self) -> None:
        """Do nothing: every image has a file of its own."""


def spelt_out(name: str) -> str:
    """Return the name of a class on one line."""
    return " ".join(name.split())
