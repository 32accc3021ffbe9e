"""What every format of labels is told of an image, and what it is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import image_frame
from fcos_lightning.data.images.orientation import as_stored
from fcos_lightning.inference.engines.finder import Finder
from fcos_lightning.inference.pictures.picture import Picture
from fcos_lightning.structures import Detections


@dataclass(frozen=True)
class ClassList:
    """The classes of a detector.

    Attributes:
        names: one per label; their numbers where nobody said.
        ids: one per label, those of the data set that the detector learnt from, or the labels.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]

    @classmethod
    def of(cls, detector: Finder) -> ClassList:
        """Return the classes of a detector, which may not say their names or numbers."""
        names, ids = detector.class_names, detector.category_ids
        given = names or ids
        numbers = range(detector.spec["num_classes"] if given is None else len(given))
        return cls(
            tuple(map(str, numbers)) if names is None else tuple(names),
            tuple(numbers) if ids is None else tuple(ids),
        )


@dataclass(frozen=True, eq=False)
class Found:
    """An image and what was found in it.

    Attributes:
        picture: upright, as it was looked at.
        detections: in pixels of that.
    """

    picture: Picture
    detections: Detections

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Height and width of the image as it is looked at."""
        return self.picture.hw

    @property
    def upright_xyxy(self) -> NDArray[np.float64]:
        """``[K, 4]`` pixels of the image as it is looked at."""
        return self.detections.boxes_xyxy.double().numpy()

    @cached_property
    def stored_hw(self) -> tuple[int, int]:
        """Height and width of the pixels as they are in the file, which data sets go by."""
        return self._frame[0]

    @cached_property
    def stored_xyxy(self) -> NDArray[np.float64]:
        """``[K, 4]`` pixels as they are in the file."""
        size_hw, orientation = self._frame
        upright = np.array(self.upright_hw, dtype=np.float64)[[1, 0, 1, 0]]
        stored = np.array(size_hw, dtype=np.float64)[[1, 0, 1, 0]]
        if orientation == 1:
            return self.upright_xyxy
        return as_stored(self.upright_xyxy / upright, orientation) * stored

    @cached_property
    def _frame(self) -> tuple[tuple[int, int], int]:
        if self.picture.path is None:
            return self.upright_hw, 1
        return image_frame(self.picture.path)

    @property
    def labels(self) -> list[int]:
        """``K`` labels, 0-based."""
        return [int(label) for label in self.detections.labels.tolist()]

    @property
    def scores(self) -> list[float]:
        """``K`` scores between 0 and 1, with the digits that a float32 has."""
        return [round(score, 6) for score in self.detections.scores.tolist()]


class LabelFormat(Protocol):
    """Writes labels of one format, one image after the other, into a folder of its own."""

    @property
    def left_out(self) -> int:
        """Number of boxes that the format cannot hold."""

    def write(self, found: Found) -> None:
        """Take an image and what was found in it."""

    def close(self) -> None:
        """Finish what was begun."""


@dataclass(frozen=True)
class Place:
    """Where a format writes, and of what.

    Attributes:
        folder: its own, which is there.
        classes: of the detector.
        source: what the pictures are of, as the user gave it.
        model: the name that labelling tools show of the detector.
    """

    folder: Path
    classes: ClassList
    source: str
    model: str


def text_of(value: float, digits: int = 3) -> str:
    """Return a number in the digits that matter: of pixels, a thousandth."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
