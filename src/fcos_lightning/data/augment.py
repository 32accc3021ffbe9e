"""The small interface albumentations sits behind: images and boxes in, images and boxes out."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

# Read when albumentations is imported: it would ask the network for its newest version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
import cv2

from fcos_lightning.data.resizing import fitting_scale, resized, resized_hw
from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ShorterSide(A.SmallestMaxSize):  # type: ignore[misc]  # albumentations is untyped
    """Resize so that the shorter side gets one length, the longer one at most another.

    What ``resizing.py`` does for evaluation and prediction, with sizes drawn at random.

    Args:
        shorter: length of the shorter side in pixels; of several one is drawn for each image.
        longer: what the longer side may at most become, in pixels.
        scale: both lengths are multiplied by a factor drawn from this range, evenly on a
            logarithmic scale, so that halving is as likely as doubling.
        p: probability of resizing at all.
    """

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """What albumentations checks the arguments against."""

        shorter: int | list[int]
        longer: int
        scale: tuple[float, float]

    def __init__(
        self,
        shorter: int | list[int],
        longer: int,
        scale: tuple[float, float] = (1.0, 1.0),
        p: float = 1.0,
    ) -> None:
        super().__init__(max_size=shorter, area_for_downscale="image", p=p)
        self.shorter = shorter
        self.longer = longer
        self.scale = (float(scale[0]), float(scale[1]))

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the factor for an image; called by albumentations."""
        height, width = params["shape"][:2]
        shorter = self.shorter
        if not isinstance(shorter, int):
            shorter = self.py_random.choice(shorter)
        fitting = fitting_scale(height, width, shorter, self.longer)
        low, high = self.scale
        factor = math.exp(self.py_random.uniform(math.log(low), math.log(high)))
        return {"scale": fitting * factor}

    def apply(self, img: NDArray[np.uint8], scale: float, **params: object) -> NDArray[np.uint8]:
        """Return the resized image; called by albumentations."""
        return resized(img, scale)


class KeepsWindow(A.DualTransform):  # type: ignore[misc]  # albumentations is untyped
    """Keeps a window of an image; a subclass says which, as ``start``, ``kept`` and ``whole``."""

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)

    def apply_to_bboxes(
        self,
        bboxes: NDArray[np.float32],
        start: tuple[int, int],
        kept: tuple[int, int],
        whole: tuple[int, int],
        **params: object,
    ) -> NDArray[np.float32]:
        """Return boxes as parts of the window's sides, not clipped; called by albumentations.

        Args:
            bboxes: as parts of the sides of what the window is of.
            start: its first row and column.
            kept: its height and width.
            whole: height and width of what it is of.
            **params: others.
        """
        moved: NDArray[np.float32] = bboxes.copy()
        for axis in (0, 1):
            side, first, window = whole[1 - axis], start[1 - axis], kept[1 - axis]
            moved[:, axis:4:2] = (bboxes[:, axis:4:2] * side - first) / window
        return moved


class LargeScaleJitter(KeepsWindow):
    """Resize by a factor from a wide range, and keep a window (arXiv 2012.07177, section 3).

    An image has one size at which it is evaluated, see ``ShorterSide``. It is resized to that times
    a factor; of what is then larger than that size a window of it is kept, drawn at random, and
    what is smaller stays so, as batches are padded. So a batch needs no more memory than without.
    Boxes are clipped to the window; ``Augmentation.min_visibility`` says which are dropped.

    Args:
        shorter: length of the shorter side in pixels at a factor of 1.
        longer: what the longer side may at most become at a factor of 1, in pixels.
        scale: the factor is drawn from this range, evenly on a logarithmic scale.
        p: probability of another factor than 1.
    """

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """What albumentations checks the arguments against."""

        shorter: int
        longer: int
        scale: tuple[float, float]

    def __init__(
        self,
        shorter: int,
        longer: int,
        scale: tuple[float, float] = (0.1, 2.0),
        p: float = 1.0,
    ) -> None:
        super().__init__(p=1.0)
        low, high = float(scale[0]), float(scale[1])
        if not 0 < low <= high <= 10:
            raise UserError(
                f"LargeScaleJitter.scale={[low, high]}: give two numbers above 0 and up to 10, the "
                "smaller first"
            )
        self.shorter = shorter
        self.longer = longer
        self.scale = (low, high)
        self.share = p

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return factor and window for an image; called by albumentations."""
        height, width = params["shape"][:2]
        fitting = fitting_scale(height, width, self.shorter, self.longer)
        factor = 1.0
        if self.py_random.random() < self.share:
            factor = math.exp(self.py_random.uniform(*(math.log(end) for end in self.scale)))
        whole = resized_hw(height, width, fitting * factor)
        kept = tuple(map(min, whole, resized_hw(height, width, fitting)))
        start = tuple(self.py_random.randint(0, a - b) for a, b in zip(whole, kept, strict=True))
        return {"factor": fitting * factor, "start": start, "kept": kept, "whole": whole}

    def apply(
        self,
        img: NDArray[np.uint8],
        factor: float,
        start: tuple[int, int],
        kept: tuple[int, int],
        **params: object,
    ) -> NDArray[np.uint8]:
        """Return the window of the resized image; called by albumentations."""
        (y, x), (height, width) = start, kept
        return resized(img, factor)[y : y + height, x : x + width]


class Augmentation:
    """A list of albumentations, applied to an image and its boxes together.

    Args:
        transforms: any of albumentations' image or box transforms, in order.
        min_visibility: a box of which less than this share stays in the image is dropped.
        min_side_px: a box with a shorter side is dropped, and counted.
    """

    def __init__(
        self,
        transforms: Sequence[A.BasicTransform],
        min_visibility: float = 0.0,
        min_side_px: float = 1.0,
    ) -> None:
        self.min_visibility = min_visibility
        self.min_side_px = min_side_px
        # Its transforms are called one by one: its own care for the boxes takes as long as
        # resizing an image. What is nested, such as ``OneOf``, still follows these parameters.
        self.compose = A.Compose(
            list(transforms),
            bbox_params=A.BboxParams(
                format="pascal_voc",
                label_fields=["rows"],
                min_visibility=min_visibility,
                clip=True,
            ),
        )

    def __call__(
        self,
        image: NDArray[np.uint8],
        boxes_xyxy: NDArray[np.float64],
        labels: NDArray[np.int64],
        seed: int,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64], int]:
        """Return image ``[H, W, 3]``, boxes ``[G, 4]``, labels ``[G]``, and a number.

        That is how many boxes were dropped for having a side below ``min_side_px``, or one that is
        nothing in float32 from the beginning.

        The result depends on the arguments alone: ``seed`` takes the place of all random state.
        """
        # One state for all: seeded each for itself, every transform would draw the same numbers.
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        height, width = image.shape[:2]
        boxes = np.empty((len(boxes_xyxy), 5), dtype=np.float32)
        boxes[:, :4] = boxes_xyxy / (width, height, width, height)
        boxes[:, 4] = np.arange(len(boxes_xyxy))
        data: dict[str, Any] = {"image": image, "bboxes": _visible(boxes, 0.0)}
        inside = (boxes_xyxy[:, :2] < (width, height)) & (boxes_xyxy[:, 2:] > 0)
        inside &= boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]
        nothing = int(inside.all(axis=1).sum()) - len(data["bboxes"])
        for transform in self.compose.transforms:
            data = transform(**data)
            data["bboxes"] = _visible(data["bboxes"], self.min_visibility)
        image, boxes = _checked(data["image"]), data["bboxes"]
        height, width = image.shape[:2]
        found = boxes[:, :4] * np.array([width, height, width, height], dtype=np.float32)
        big_enough = (found[:, 2:] - found[:, :2] >= self.min_side_px).all(axis=1)
        rows = boxes[big_enough, 4].astype(np.int64)
        return image, found[big_enough], labels[rows], nothing + int((~big_enough).sum())


def _visible(boxes: NDArray[np.float32], least_share: float) -> NDArray[np.float32]:
    """Clip boxes to the image, and drop those of which nothing or too little is left.

    Args:
        boxes: ``[G, 5]`` xyxy as parts of the image's sides, and which of the given boxes it was;
            without boxes albumentations may leave out that column.
        least_share: of a box's area that has to be left.
    """
    if not len(boxes):
        return np.zeros((0, 5), dtype=np.float32)
    clipped = boxes.copy()
    clipped[:, :4] = boxes[:, :4].clip(0, 1)
    sides = clipped[:, 2:4] - clipped[:, :2]
    area = (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
    enough = (sides > 0).all(axis=1) & (sides.prod(axis=1) >= least_share * area)
    left: NDArray[np.float32] = clipped[enough]
    return left


def _checked(image: object) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,):
        return image
    kind, shape = getattr(image, "dtype", type(image)), list(getattr(image, "shape", ()))
    raise UserError(
        f"augment.transforms give images of type {kind} and shape {shape}, but the detector takes "
        "uint8 [H, W, 3] and normalises it itself: leave out what changes type or channels"
    )


def single_threaded() -> None:
    """Keep OpenCV to one thread: loader workers are already one for each processor."""
    cv2.setNumThreads(0)


def as_it_is() -> Augmentation:
    """Return an augmentation that changes nothing."""
    return Augmentation([A.NoOp()])  # of an empty list albumentations warns
