"""Ground truth: of an image, of a batch, of a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fcos_lightning.structures.on_device import OnDevice

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Target(OnDevice):
    """Ground truth of one image.

    Attributes:
        boxes_xyxy: ``[G, 4]`` float32 pixels. ``G`` may be 0.
        labels: ``[G]`` int64, 0-based.
        ignored_xyxy: ``[K, 4]`` float32 pixels, boxes in which nothing is background: crowds,
            objects too difficult to ask for; None: there are none.

    Raises:
        ValueError: if the shapes do not fit each other.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    ignored_xyxy: Tensor | None = None

    def __post_init__(self) -> None:
        if self.boxes_xyxy.ndim != 2 or self.boxes_xyxy.shape[1] != 4:
            raise ValueError(f"boxes_xyxy must be [G, 4], not {list(self.boxes_xyxy.shape)}")
        if self.labels.shape != self.boxes_xyxy.shape[:1]:
            raise ValueError(
                f"{len(self.boxes_xyxy)} boxes need labels of shape [{len(self.boxes_xyxy)}], "
                f"not {list(self.labels.shape)}"
            )
        ignored = self.ignored_xyxy
        if ignored is not None and (ignored.ndim != 2 or ignored.shape[1] != 4):
            raise ValueError(f"ignored_xyxy must be [K, 4], not {list(ignored.shape)}")


@dataclass(frozen=True, eq=False)
class Targets(OnDevice):
    """Ground truth of a batch, padded to the largest number of boxes: one transfer, fixed shapes.

    Attributes:
        boxes_xyxy: ``[B, G, 4]`` float32 pixels of the padded input; rows beyond an image's own
            boxes are zero.
        labels: ``[B, G]`` int64, -1 on padding rows.
        ignored_xyxy: ``[B, K, 4]`` float32 pixels, boxes in which nothing is background; padding
            rows are zero, so that no point lies in them. None: no image has any.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    ignored_xyxy: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """``[B, G]`` bool: which rows are boxes rather than padding."""
        return self.labels >= 0

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Targets:
        """Pad the boxes of several images to one tensor; an image without boxes is ordinary."""
        pad = torch.nn.utils.rnn.pad_sequence
        ignored = [
            target.boxes_xyxy.new_zeros(0, 4, dtype=torch.float32)
            if target.ignored_xyxy is None
            else target.ignored_xyxy.float()
            for target in targets
        ]
        return cls(
            boxes_xyxy=pad([target.boxes_xyxy.float() for target in targets], batch_first=True),
            labels=pad([t.labels for t in targets], batch_first=True, padding_value=-1),
            ignored_xyxy=pad(ignored, batch_first=True) if any(map(len, ignored)) else None,
        )


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Annotations of a data set in flat arrays, which loader workers share without copying.

    The boxes of image ``i`` are the rows ``first_box[i]`` to ``first_box[i + 1]``.

    Attributes:
        image_ids: ``[N]`` int64, as the data set's own files give them (VOC: 1 to N).
        file_names: ``[N]`` numpy unicode array, below the image folder.
        sizes_hw: ``[N, 2]`` int64 pixels.
        first_box: ``[N + 1]`` int64.
        boxes_xyxy: ``[M, 4]`` float64 pixels, as annotated (they may stick out of the image).
        labels: ``[M]`` int64, 0-based.
        ignored: ``[M]`` bool: COCO crowds and VOC difficult objects. Nothing learns to find
            them; in evaluation a detection on one is neither right nor wrong.
        areas_px: ``[M]`` float64, the annotated area where there is one (COCO: of the segment).
            It decides between small, medium and large.
        class_names: one per label.
        category_ids: one per label, the ids the data set's own files use.
    """

    image_ids: NDArray[np.int64]
    file_names: NDArray[np.str_]
    sizes_hw: NDArray[np.int64]
    first_box: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas_px: NDArray[np.float64]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, image: int) -> slice:
        """The rows that hold the boxes of the ``image``-th image."""
        return slice(int(self.first_box[image]), int(self.first_box[image + 1]))

    def of_images(self, image_ids: NDArray[np.int64]) -> GroundTruth:
        """Return the ground truth of some images, in the same order as here.

        Args:
            image_ids: ``[K]`` their ids; others than those that are here are passed over.
        """
        return self.kept(np.isin(self.image_ids, image_ids))

    def kept(self, kept: NDArray[np.bool_]) -> GroundTruth:
        """Return the ground truth of the images that a mask ``[N]`` names, in their order."""
        boxes = np.diff(self.first_box)
        rows = np.repeat(kept, boxes)
        return replace(
            self,
            image_ids=self.image_ids[kept],
            file_names=self.file_names[kept],
            sizes_hw=self.sizes_hw[kept],
            first_box=np.concatenate([[0], np.cumsum(boxes[kept])]).astype(np.int64),
            boxes_xyxy=self.boxes_xyxy[rows],
            labels=self.labels[rows],
            ignored=self.ignored[rows],
            areas_px=self.areas_px[rows],
        )
