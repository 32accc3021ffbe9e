"""An image with its boxes, what becomes of boxes that are cut, and what puts images together.

Legend: ``G`` boxes of an image. A label of -1 is a box to be ignored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.data.resizing import resized
from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of a box to be ignored.
IGNORED = -1


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with its boxes.

    Attributes:
        image: ``[H, W, 3]`` uint8 RGB.
        boxes_xyxy: ``[G, 4]`` float64 pixels of ``image``.
        labels: ``[G]`` int64, -1 of boxes to be ignored.
    """

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def inside(self) -> Scene:
        """Return it with boxes clipped to the image, less those with nothing in it."""
        height, width = self.size_hw
        boxes, labels = cut(self.boxes_xyxy, self.labels, (0, 0, width, height), 0.0)
        return Scene(self.image, boxes, labels)

    def scaled(self, factor: float) -> Scene:
        """Return it with both sides multiplied, each to whole pixels, at least one."""
        image = resized(self.image, factor)
        (height, width), (before_h, before_w) = image.shape[:2], self.size_hw
        ratio = np.array([width / before_w, height / before_h] * 2)
        return Scene(image, self.boxes_xyxy * ratio, self.labels)


def cut(
    boxes_xyxy: NDArray[np.float64],
    labels: NDArray[np.int64],
    region_xyxy: tuple[float, float, float, float],
    least_visible: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what is left of boxes in a region.

    A box of which nothing is in the region is left out. One of which less than ``least_visible`` of
    its area is, is clipped and to be ignored: it is neither a whole object nor background.

    Args:
        boxes_xyxy: ``[G, 4]`` pixels.
        labels: ``[G]``.
        region_xyxy: in the same pixels.
        least_visible: share of a box's area that makes it an object.

    Returns:
        Boxes and labels of those that are left, in their order.
    """
    low, high = np.array(region_xyxy[:2]), np.array(region_xyxy[2:])
    clipped = np.concatenate(
        [boxes_xyxy[:, :2].clip(low, high), boxes_xyxy[:, 2:].clip(low, high)], axis=1
    )
    sides = clipped[:, 2:] - clipped[:, :2]
    area = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    hardly = sides.prod(axis=1) < least_visible * area
    left = (sides > 0).all(axis=1)
    return clipped[left], np.where(hardly, IGNORED, labels)[left]


class Mix(ABC):
    """Makes one training image of several.

    It is a function of the scenes and of what it draws: the same images and the same state of
    ``random`` give the same.

    Args:
        p: probability with which an image is mixed.
        least_visible: see ``cut``.

    Attributes:
        partners: how many other images it takes.
    """

    partners: int = 1

    def __init__(self, p: float, least_visible: float) -> None:
        for option, value in (("p", p), ("least_visible", least_visible)):
            self.require(option, value, 0 <= value <= 1, "a number in [0, 1]")
        self.p = p
        self.least_visible = least_visible

    @abstractmethod
    def __call__(self, scene: Scene, others: Sequence[Scene], random: np.random.Generator) -> Scene:
        """Return the mixed image.

        Args:
            scene: which keeps its size; boxes lie inside it.
            others: ``partners`` of them, at the size at which the detector sees them; likewise.
            random: what it draws from.
        """

    @classmethod
    def require(cls, option: str, value: object, holds: bool, wanted: str) -> None:
        """Refuse the value of an option.

        Raises:
            UserError: if it does not hold.
        """
        if not holds:
            raise UserError(f"augment.mixes: {cls.__name__}.{option}={value}: give {wanted}")

    @classmethod
    def require_range(
        cls, option: str, value: tuple[float, float], least: float, most: float
    ) -> None:
        """Refuse a range that is not two ascending numbers between two others.

        Raises:
            UserError: if it is not.
        """
        holds = len(value) == 2 and least <= value[0] <= value[1] <= most
        wanted = f"two numbers from {least:g} to {most:g}, the smaller first"
        cls.require(option, list(value), holds, wanted)


def drawn_factor(random: np.random.Generator, scale: tuple[float, float]) -> float:
    """Draw a factor evenly on a logarithmic scale, so that halving is as likely as doubling."""
    return float(np.exp(random.uniform(np.log(scale[0]), np.log(scale[1]))))
