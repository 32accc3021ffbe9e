"""A split of a data set, one augmented image at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fcos_lightning.data.augment import Augmentation
from fcos_lightning.data.images import LARGEST_PX
from fcos_lightning.data.mixing.mixed import MixedAugmentation
from fcos_lightning.data.mixing.scene import Scene
from fcos_lightning.data.resizing import planes
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
            unreadable one in training, be it the image itself or one that it is mixed with; in
            evaluation, where images may not be exchanged, a small black image without boxes does,
            on which nothing can be found.
        training: whether images may be exchanged.
        max_pixels: larger images are refused, see ``read_image``.
        ignore: ``points``: targets say which boxes are to be ignored; ``none``: they do not, so
            that what is in them counts as background.
        weak_from: the first epoch in which images are not mixed.
        shard: ``[N]`` of each image: one is mixed with those of its own shard alone, as the others
            may be far away; None: with any.
    """

    def __init__(
        self,
        split: DataSplit,
        augmentation: Augmentation | MixedAugmentation,
        seed: int = 0,
        on_bad_image: Literal["error", "skip"] = "error",
        training: bool = True,
        max_pixels: int = LARGEST_PX,
        ignore: Literal["points", "none"] = "none",
        weak_from: float = math.inf,
        shard: NDArray[np.int32] | None = None,
    ) -> None:
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.training = training
        self.max_pixels = max_pixels
        self.ignore = ignore
        self.weak_from = weak_from
        self.shard = shard

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return the image at a position of the split, as augmented in an epoch."""
        epoch, index = key
        unreadable: list[str] = []
        chosen, scene = self._read(index, unreadable)
        augmentation = self.augmentation
        if isinstance(augmentation, MixedAugmentation):
            if epoch < self.weak_from:
                steps = augmentation.plan(self.seed, epoch, chosen, self._others(chosen))
                scene = augmentation.mixed(
                    scene, steps, lambda other: self._read(other, unreadable)[1]
                )
                augmentation = augmentation.then
            else:
                augmentation = augmentation.weak
        seed = int(np.random.SeedSequence([self.seed, epoch, chosen]).generate_state(1)[0])
        image, boxes, labels, dropped = augmentation(
            scene.image, scene.boxes_xyxy, scene.labels, seed
        )
        ignored = labels < 0
        height, width = self.split.truth.sizes_hw[chosen].tolist()
        told = self.ignore == "points" and ignored.any()
        return Sample(
            image=torch.from_numpy(planes(image)),
            target=Target(
                boxes_xyxy=torch.from_numpy(boxes[~ignored]),
                labels=torch.from_numpy(labels[~ignored]),
                ignored_xyxy=torch.from_numpy(boxes[ignored]) if told else None,
            ),
            image_id=int(self.split.truth.image_ids[chosen]),
            original_size_hw=(height, width),
            dropped_boxes=dropped,
            unreadable=tuple(dict.fromkeys(unreadable)),
        )

    def _read(self, index: int, unreadable: list[str]) -> tuple[int, Scene]:
        """Return the image at a position as stored, or what takes its place, and its position.

        Args:
            index: the position.
            unreadable: files that are passed over are added to it.

        Raises:
            UserError: if it cannot be read and nothing may take its place.
        """
        for step in range(len(self.split)):
            chosen = (index + step) % len(self.split)
            try:
                pixels = self.split.image(chosen, self.max_pixels)
                return chosen, Scene(pixels, *self.split.target(chosen, self.ignore == "points"))
            except StoreError:
                raise  # nothing of it can be read, not this one alone
            except UserError:
                if self.on_bad_image == "error":
                    raise
                unreadable.append(self.split.images.name(chosen))
                if not self.training:
                    # Of no stated size: nothing says that it is true, and it may be any.
                    black = np.zeros((_STAND_IN_PX, _STAND_IN_PX, 3), np.uint8)
                    return index, Scene(black, np.zeros((0, 4)), np.zeros(0, dtype=np.int64))
        raise UserError(f"{self.split.name}: none of its {len(self.split)} images can be read")

    def _others(self, index: int) -> NDArray[np.int64] | range:
        """Return the positions of the images that one may be mixed with, itself among them."""
        if self.shard is None:
            return range(len(self.split))
        return np.flatnonzero(self.shard == self.shard[index])
