"""A split of a data set, one augmented image at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fcos_lightning.data.augment import Augmentation
from fcos_lightning.data.index import DataSplit
from fcos_lightning.data.resizing import planes
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Target

#: Side of the black image that stands for one that cannot be read.
_STAND_IN_PX = 32


@dataclass(frozen=True, eq=False)
class Sample:
    """One image as the network sees it.

    Attributes:
        image: ``[3, H, W]`` uint8 RGB.
        target: boxes in pixels of ``image``.
        image_id: the id in the data set's own files.
        original_size_hw: height and width of the file; of one that cannot be read, as annotated.
        dropped_boxes: boxes that the augmentation left without a pixel.
        unreadable: files passed over on the way to this one.
    """

    image: Tensor
    target: Target
    image_id: int
    original_size_hw: tuple[int, int]
    dropped_boxes: int = 0
    unreadable: tuple[str, ...] = ()


class DetectionDataset(Dataset[Sample]):
    """Reads, augments and hands out the images of a split.

    Indexed by ``(epoch, image)``: every random choice depends on the seed and those two alone, not
    on the worker, the rank or what came before.

    Args:
        split: where the images are and what is on them.
        augmentation: from the stored pixels to what the network sees.
        seed: of all random choices.
        on_bad_image: ``error``, or ``skip``: the next readable image takes the place of an
            unreadable one in training; in evaluation, where images may not be exchanged, a small
            black image without boxes does, on which nothing can be found.
        training: whether images may be exchanged.
        max_pixels: larger images are refused, see ``read_image``.
        ignore: ``points``: targets say which boxes are to be ignored; ``none``: they do not, so
            that what is in them counts as background.
    """

    def __init__(
        self,
        split: DataSplit,
        augmentation: Augmentation,
        seed: int = 0,
        on_bad_image: Literal["error", "skip"] = "error",
        training: bool = True,
        max_pixels: int = 100_000_000,
        ignore: Literal["points", "none"] = "none",
    ) -> None:
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.training = training
        self.max_pixels = max_pixels
        self.ignore = ignore

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return the image at a position of the split, as augmented in an epoch."""
        epoch, index = key
        unreadable: list[str] = []
        for step in range(len(self.split)):
            chosen = (index + step) % len(self.split)
            try:
                pixels = self.split.image(chosen, self.max_pixels)
                boxes, labels = self.split.target(chosen, self.ignore == "points")
                break
            except StoreError:
                raise  # nothing of it can be read, not this one alone
            except UserError:
                if self.on_bad_image == "error":
                    raise
                unreadable.append(self.split.images.name(chosen))
                if not self.training:
                    # Of no stated size: nothing says that it is true, and it may be any.
                    pixels, chosen = np.zeros((_STAND_IN_PX, _STAND_IN_PX, 3), np.uint8), index
                    boxes, labels = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
                    break
        else:
            raise UserError(f"{self.split.name}: none of its {len(self.split)} images can be read")
        seed = int(np.random.SeedSequence([self.seed, epoch, chosen]).generate_state(1)[0])
        image, kept_boxes, labels, dropped = self.augmentation(pixels, boxes, labels, seed)
        ignored = labels < 0
        height, width = self.split.truth.sizes_hw[chosen].tolist()
        return Sample(
            image=torch.from_numpy(planes(image)),
            target=Target(
                boxes_xyxy=torch.from_numpy(kept_boxes[~ignored]),
                labels=torch.from_numpy(labels[~ignored]),
                ignored_xyxy=torch.from_numpy(kept_boxes[ignored]) if ignored.any() else None,
            ),
            image_id=int(self.split.truth.image_ids[chosen]),
            original_size_hw=(height, width),
            dropped_boxes=dropped,
            unreadable=tuple(unreadable),
        )
