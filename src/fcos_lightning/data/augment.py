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

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ShorterSide(A.SmallestMaxSize):  # type: ignore[misc]  # albumentations is untyped
    """Resize so that the shorter side gets one length, the longer one at most another.

    The way detectors are trained and tested: 800 and 1333 in the paper. Shrinking averages the
    pixels it merges; growing is bilinear.

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
        wanted = super().get_params_dependent_on_data(params, data)["scale"]
        fitting = min(wanted, self.longer / max(params["shape"][:2]))
        low, high = self.scale
        factor = math.exp(self.py_random.uniform(math.log(low), math.log(high)))
        return {"scale": fitting * factor}


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
        self.min_side_px = min_side_px
        self.compose = A.Compose(
            list(transforms),
            bbox_params=A.BboxParams(
                format="pascal_voc",
                label_fields=["rows"],
                min_visibility=min_visibility,
                clip=True,
                # Without it, a box that clipping leaves empty raises instead of going.
                filter_invalid_bboxes=True,
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

        That is how many boxes were dropped for having a side below ``min_side_px``.

        The result depends on the arguments alone: ``seed`` takes the place of all random state.
        """
        # One state for all: seeded each for itself, every transform would draw the same numbers.
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        done = self.compose(image=image, bboxes=boxes_xyxy, rows=np.arange(len(boxes_xyxy)))
        boxes = np.asarray(done["bboxes"], dtype=np.float32).reshape(-1, 4)
        rows = np.asarray(done["rows"], dtype=np.int64)
        big_enough = (boxes[:, 2:] - boxes[:, :2] >= self.min_side_px).all(axis=1)
        dropped = int(len(boxes) - big_enough.sum())
        return done["image"], boxes[big_enough], labels[rows[big_enough]], dropped


def single_threaded() -> None:
    """Keep OpenCV to one thread: loader workers are already one for each processor."""
    cv2.setNumThreads(0)
