"""What the rest of this room asks of a detector, whatever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from fcos_lightning.structures import Detections


class Finder(Protocol):
    """Images in, final boxes out: a ``DenseDetector``, or a converted file.

    Attributes:
        spec: plain values; ``num_classes`` is among them.
    """

    spec: dict[str, Any]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """One per label, or None where nobody said."""

    @property
    def category_ids(self) -> tuple[int, ...] | None:
        """One per label, the ids of the data set that it was trained on, or None."""

    @property
    def decoder(self) -> object:
        """Has its options as attributes, as far as they are known."""

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return the boxes in RGB uint8 images ``[3, H, W]``, in each image's own pixels."""
