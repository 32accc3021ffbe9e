"""Samples -> Batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch

from fcos_lightning.data.batches.dataset import Sample
from fcos_lightning.structures import Batch, Images, Targets


class Collate:
    """Pads images to one size and boxes to one number.

    Args:
        size_multiple: height and width of a batch are rounded up to a multiple of this.
        pad_beyond: to the next one above, see ``Images.pad``.
    """

    def __init__(self, size_multiple: int = 32, pad_beyond: bool = False) -> None:
        self.size_multiple = size_multiple
        self.pad_beyond = pad_beyond

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch of these samples."""
        return Batch(
            images=Images.pad(
                [sample.image for sample in samples], self.size_multiple, self.pad_beyond
            ),
            targets=Targets.stack([sample.target for sample in samples]),
            image_ids=torch.tensor([sample.image_id for sample in samples]),
            original_sizes_hw=torch.tensor([sample.original_size_hw for sample in samples]),
            dropped_boxes=sum(sample.dropped_boxes for sample in samples),
            unreadable=tuple(chain.from_iterable(sample.unreadable for sample in samples)),
        )
