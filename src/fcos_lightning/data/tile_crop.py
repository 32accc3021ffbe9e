"""A tile of a training image, as large images are looked at when they are predicted on in tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fcos_lightning.data.augment import KeepsWindow
from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TileCrop(KeepsWindow):
    """Keep a window of an image, whose pixels stay as they are.

    Large images are mostly background: a share of the windows lies around an object, drawn with all
    of it inside where it fits, the others lie anywhere. An image that is no larger stays whole.
    Boxes are cut by the window; ``Augmentation.min_visibility`` says which are dropped.

    Args:
        side: of the window, height and width, in pixels of the image.
        around: share of the windows that lie around an object, where there is one.
        p: probability of cropping at all.
    """

    class InitSchema(KeepsWindow.InitSchema):  # type: ignore[misc,name-defined]
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
