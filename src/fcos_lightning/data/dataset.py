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
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Target


@dataclass(frozen=True, eq=False)
class Sample:
    """One image as the network sees it.

    Attributes:
        image: ``[3, H, W]`` uint8 RGB.
        target: boxes in pixels of ``image``.
        image_id: the id in the data set's own files.
        original_size_hw: height and width of the file.
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
            unreadable one in training; in evaluation, where images may not be exchanged, a black
            image on which nothing can be found does.
        training: whether images may be exchanged.
    """

    def __init__(
        self,
        split: DataSplit,
        augmentation: Augmentation,
        seed: int = 0,
        on_bad_image: Literal["error", "skip"] = "error",
        training: bool = True,
    ) -> None:
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.training = training

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return the image at a position of the split, as augmented in an epoch."""
        epoch, index = key
        unreadable: list[str] = []
        for step in range(len(self.split)):
            chosen = (index + step) % len(self.split)
            try:
                pixels = self.split.image(chosen)
                break
            except UserError:
                if self.on_bad_image == "error":
                    raise
                unreadable.append(str(self.split.path(chosen)))
                if not self.training:
                    height, width = self.split.truth.sizes_hw[index]
                    pixels, chosen = np.zeros((height, width, 3), dtype=np.uint8), index
                    break
        else:
            raise UserError(f"{self.split.name}: none of its {len(self.split)} images can be read")
        boxes, labels = self.split.target(chosen)
        seed = int(np.random.SeedSequence([self.seed, epoch, chosen]).generate_state(1)[0])
        image, kept_boxes, labels, dropped = self.augmentation(pixels, boxes, labels, seed)
        return Sample(
            image=torch.from_numpy(planes(image)),
            target=Target(torch.from_numpy(kept_boxes), torch.from_numpy(labels)),
            image_id=int(self.split.truth.image_ids[chosen]),
            original_size_hw=(pixels.shape[0], pixels.shape[1]),
            dropped_boxes=dropped,
            unreadable=tuple(unreadable),
        )
