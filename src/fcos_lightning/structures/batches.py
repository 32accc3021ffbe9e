"""Images of a batch, and what comes with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcos_lightning.structures.on_device import OnDevice
from fcos_lightning.structures.targets import Targets

#: What the sides of an image may be resized to, in pixels; more is a slip, and takes all memory.
LARGEST_SIDES = {"shorter_side": 10_000, "longer_side": 1_000_000}


@dataclass(frozen=True, eq=False)
class Images(OnDevice):
    """Images of different sizes in one tensor, each in the top left corner.

    Attributes:
        pixels: ``[B, 3, H, W]`` uint8 RGB; what lies outside an image is arbitrary, the detector
            sets it to exactly zero after normalisation.
        sizes_hw: ``[B, 2]`` int64, height and width of each image before padding.
    """

    pixels: Tensor
    sizes_hw: Tensor

    @classmethod
    def pad(cls, images: Sequence[Tensor], multiple: int, beyond: bool = False) -> Images:
        """Lay uint8 images ``[3, H, W]`` into one tensor.

        Args:
            images: of any sizes.
            multiple: the tensor's sides are rounded up to multiples of this.
            beyond: to the next multiple above each side, also where it is one already.
        """
        if not images:
            raise ValueError("expected at least one image")
        sizes = torch.tensor([image.shape[-2:] for image in images])
        tallest, widest = sizes.amax(dim=0).tolist()
        height, width = cls.padded_hw(tallest, widest, multiple, beyond)
        device = images[0].device
        pixels = torch.empty(len(images), 3, height, width, dtype=torch.uint8, device=device)
        for row, image in zip(pixels, images, strict=True):
            bottom, right = image.shape[-2:]
            row[:, :bottom, :right] = image
            # Black, so that equal images make equal batches. Much less is written than if all were.
            row[:, bottom:] = 0
            row[:, :bottom, right:] = 0
        return cls(pixels=pixels, sizes_hw=sizes)

    @staticmethod
    def padded_hw(height: int, width: int, multiple: int, beyond: bool = False) -> tuple[int, int]:
        """Return height and width of the tensor that images of at most these are laid into."""
        rows, columns = (
            math.ceil((side + beyond) / multiple) * multiple for side in (height, width)
        )
        return rows, columns

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of the padded tensor."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where the pixels lie."""
        return self.pixels.device


@dataclass(frozen=True, eq=False)
class PaddedTargets(OnDevice):
    """Ground truth of a batch without its images.

    Attributes:
        targets: boxes in pixels of the padded images.
        padded_size: height and width of those.
    """

    targets: Targets
    padded_size: tuple[int, int]

    @property
    def device(self) -> torch.device:
        """Where the boxes lie."""
        return self.targets.boxes_xyxy.device


@dataclass(frozen=True, eq=False)
class Batch(OnDevice):
    """What the data module streams.

    Attributes:
        images: the padded images.
        targets: boxes in pixels of the resized, padded images.
        image_ids: ``[B]`` int64, the ids of the data set's own files.
        original_sizes_hw: ``[B, 2]`` int64, sizes of the files before any resizing.
        dropped_boxes: boxes that the augmentation left without a pixel.
        unreadable: files that could not be read and were passed over.
        rest_of_step: where gradients of several batches are accumulated, the ground truth of the
            batches that follow in the same optimiser step, on the first of them; else empty.
    """

    images: Images
    targets: Targets
    image_ids: Tensor
    original_sizes_hw: Tensor
    dropped_boxes: int = 0
    unreadable: tuple[str, ...] = ()
    rest_of_step: tuple[PaddedTargets, ...] = ()

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True, eq=False)
class Views(OnDevice):
    """One image in several sizes.

    Attributes:
        images: a batch of one for each size.
        image_ids: ``[1]``, the id in the data set's own files.
        original_sizes_hw: ``[1, 2]`` size of the file.
        unreadable: the file, if it could not be read.
    """

    images: tuple[Images, ...]
    image_ids: Tensor
    original_sizes_hw: Tensor
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 1
