"""A tile of a training image, as large images are looked at when they are predicted on in tiles."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# As in augment.py: read when albumentations is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TileCrop(A.DualTransform):  # type: ignore[misc]  # albumentations is untyped
    """Keep a window of an image, whose pixels stay as they are.

    Large images are mostly background: a share of the windows lies around an object, drawn with all
    of it inside where it fits, the others lie anywhere. An image that is no larger stays whole.
    Boxes are cut by the window; ``Augmentation.min_visibility`` says which are dropped.

    Args:
        side: of the window, height and width, in pixels of the image.
        around: share of the windows that lie around an object, where there is one.
        p: probability of cropping at all.
    """

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """What albumentations checks the arguments against."""

        side: int
        around: float

    def __init__(self, side: int, around: float = 0.7, p: float = 1.0) -> None:
        super().__init__(p=p)
        if side < 32:
            raise UserError(f"TileCrop.side={side}: give at least 32 pixels")
        if not 0 <= around <= 1:
            raise UserError(f"TileCrop.around={around}: give 0 to 1")
        self.side = side
        self.around = around

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the window for an image; called by albumentations."""
        whole = params["shape"][:2]
        kept = tuple(min(side, self.side) for side in whole)
        boxes = data.get("bboxes")
        chosen = None
        if boxes is not None and len(boxes) and self.py_random.random() < self.around:
            chosen = boxes[self.py_random.randrange(len(boxes))]
        start = []
        for axis, (side, window) in enumerate(zip(whole, kept, strict=True)):
            last = side - window
            low, high = 0, last
            if chosen is not None:
                # Fractions of the image: x1 y1 x2 y2.
                begin, end = float(chosen[1 - axis]) * side, float(chosen[3 - axis]) * side
                low, high = sorted((int(end - window) + 1, int(begin)))
                low, high = min(max(low, 0), last), min(max(high, 0), last)
            start.append(self.py_random.randint(low, high))
        return {"start": tuple(start), "kept": kept, "whole": whole}

    def apply(
        self, img: NDArray[np.uint8], start: tuple[int, int], kept: tuple[int, int], **_: object
    ) -> NDArray[np.uint8]:
        """Return the window; called by albumentations."""
        (y, x), (height, width) = start, kept
        return img[y : y + height, x : x + width]

    def apply_to_bboxes(
        self,
        bboxes: NDArray[np.float32],
        start: tuple[int, int],
        kept: tuple[int, int],
        whole: tuple[int, int],
        **_: object,
    ) -> NDArray[np.float32]:
        """Return boxes as parts of the window's sides, not clipped; called by albumentations."""
        moved: NDArray[np.float32] = bboxes.copy()
        for axis in (0, 1):
            side, first, window = whole[1 - axis], start[1 - axis], kept[1 - axis]
            moved[:, axis:4:2] = (bboxes[:, axis:4:2] * side - first) / window
        return moved
