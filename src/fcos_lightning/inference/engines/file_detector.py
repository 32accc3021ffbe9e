"""A converted file as a detector: images in, final boxes out, and no torch in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcos_lightning.boxes import clip_boxes
from fcos_lightning.errors import UserError
from fcos_lightning.inference.asked import complete_sides
from fcos_lightning.inference.deployed.about import INPUT, OUTPUTS
from fcos_lightning.inference.deployed.equality import detections_of
from fcos_lightning.inference.engines.dense import INPUTS
from fcos_lightning.inference.engines.engine import Engine
from fcos_lightning.inference.engines.stated import Stated
from fcos_lightning.structures import Detections


class FileDetector:
    """Finds objects by a file that ``fcos-convert`` wrote, NMS inside.

    Attributes:
        path: of the file.
        stated: what it says about itself.
        class_names: one per label, or None.
        category_ids: one per label, or None.
        spec: how many classes there are.
        decoder: what is known of its decoder's options, as attributes.
        engine: what computes it.

    Args:
        path: for messages.
        engine: the file, ready to run.

    Raises:
        UserError: if it is none of these files.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        if set(engine.inputs) == set(INPUTS):
            raise UserError(
                f"{path} gives the prediction alone, as nms=false asks for; convert the checkpoint "
                "without that"
            )
        if engine.inputs != (INPUT,) or not set(OUTPUTS) <= set(engine.outputs):
            raise UserError(f"{path} is none of the files that fcos-convert writes")
        try:
            self.stated = Stated.of(engine.about)
        except UserError as error:
            raise UserError(f"{path}: {error}; convert the checkpoint again") from None
        self.engine = engine
        self.class_names, self.category_ids = self.stated.class_names, self.stated.category_ids
        self.spec = {"num_classes": self.stated.num_classes}
        self.decoder = SimpleNamespace(**self.stated.decoder)

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of the only images that it takes; None: of any."""
        return self.stated.size_hw

    def sides(
        self, shorter_side: int | None = None, longer_side: int | None = None
    ) -> tuple[int, int]:
        """Return the sides that images are resized to, in pixels: those given, else the file's.

        Of a file whose images have one size, the sides of that.

        Raises:
            UserError: if some are given for such a file, or nobody says.
        """
        fixed, asked = self.size_hw, (shorter_side, longer_side)
        if fixed is None:
            return complete_sides(str(self.path), self.stated.sides, asked)
        for key, given in zip(("shorter_side", "longer_side"), asked, strict=True):
            if given is not None:
                raise UserError(
                    f"{key}={given}: {self.path} takes images of {fixed[0]}x{fixed[1]} pixels "
                    "only; leave it out"
                )
        return min(fixed), max(fixed)

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return the boxes found in RGB uint8 images ``[3, H, W]``, in each image's own pixels.

        Images of one size that follow one another are looked at together, so that none has
        anything beside it; each finds what it finds alone. Where the file takes one size, they are
        at most as large, and black is laid beside them.

        Raises:
            UserError: if the file cannot compute it, or gives what are no detections.
        """
        fixed = self.size_hw
        found: list[Detections] = []
        waiting: list[NDArray[np.uint8]] = []
        for image in images:
            pixels = image.numpy() if fixed is None else _beside_black(image.numpy(), fixed)
            if waiting and pixels.shape != waiting[0].shape:
                found.extend(self._found(waiting))
                waiting = []
            waiting.append(pixels)
        if waiting:
            found.extend(self._found(waiting))
        if fixed is None:
            return found
        return [_within(one, image) for one, image in zip(found, images, strict=True)]

    def _found(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        batch = np.stack(images)
        try:
            outputs = self.engine({INPUT: batch})
            found = detections_of(outputs[name] for name in OUTPUTS)
            self._check(found, len(batch))
        except UserError as error:
            height, width = batch.shape[2:]
            raise UserError(
                f"{self.path}, images of {width} x {height} pixels: {error}; convert the "
                "checkpoint again"
            ) from error
        except (ValueError, TypeError, IndexError, RuntimeError):  # arrays of another kind
            raise UserError(
                f"{self.path} gives what are no boxes, scores and labels; convert the checkpoint "
                "again"
            ) from None
        return found

    def _check(self, found: Sequence[Detections], count: int) -> None:
        if len(found) != count:
            raise UserError(f"gives detections of {len(found)} images for {count}")
        for one in found:
            shapes = tuple(map(tuple, (one.boxes_xyxy.shape, one.scores.shape, one.labels.shape)))
            if shapes != ((len(one), 4), (len(one),), (len(one),)):
                raise ValueError
            if len(one) and int(one.labels.max()) >= self.stated.num_classes:
                raise UserError(
                    f"gives label {int(one.labels.max())}, and says that there are "
                    f"{self.stated.num_classes} classes"
                )
            if not bool(((one.scores >= 0) & (one.scores <= 1)).all()):
                raise UserError("gives scores that are not between 0 and 1")


def _beside_black(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image ``[3, h, w]`` in the top left corner of one of a given size."""
    height, width = image.shape[1:]
    if height > size_hw[0] or width > size_hw[1]:
        raise ValueError(f"an image of {width} x {height} pixels is larger than {size_hw}")
    whole = np.zeros((3, *size_hw), dtype=np.uint8)
    whole[:, :height, :width] = image
    return whole


def _within(found: Detections, image: Tensor) -> Detections:
    """Return what of detections lies in the image, not in the black beside it."""
    size_hw = torch.tensor(image.shape[1:])
    boxes = clip_boxes(found.boxes_xyxy, size_hw)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return Detections(boxes[kept], found.scores[kept], found.labels[kept])
