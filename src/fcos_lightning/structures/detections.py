"""The boxes that were found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from fcos_lightning.structures.on_device import OnDevice

if TYPE_CHECKING:
    import pandas
    import PIL.Image
    import supervision

    from fcos_lightning.inference.pictures.pixels import AnyImage


@dataclass(frozen=True, eq=False)
class Detections(OnDevice):
    """Final boxes of one image, best first.

    Attributes:
        boxes_xyxy: ``[K, 4]`` float32 pixels.
        scores: ``[K]`` float32 between 0 and 1.
        labels: ``[K]`` int64, 0-based.
        class_names: one per class, or None where nobody said.
        track_ids: ``[K]`` int64, the same number for the same object in all frames of a video, from
            1, and 0 before one is given; None where nothing follows objects.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...] | None = None
    track_ids: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The name of each box's class, ``K`` of them; None where the classes have no names."""
        if self.class_names is None:
            return None
        return tuple(self.class_names[label] for label in self.labels.tolist())

    def above(self, score: float | Tensor) -> Detections:
        """Return those with at least this score.

        Args:
            score: one for all, or ``[C]`` one for each class.
        """
        least = score.to(self.scores)[self.labels] if isinstance(score, Tensor) else score
        kept = self.scores >= least
        return self.at(kept)

    def at(self, chosen: Tensor) -> Detections:
        """Return some of them.

        Args:
            chosen: ``[K]`` bool, or their places in the order that is wanted.
        """
        tracks = None if self.track_ids is None else self.track_ids[chosen]
        parts = (self.boxes_xyxy[chosen], self.scores[chosen], self.labels[chosen])
        return Detections(*parts, self.class_names, tracks)

    def resized(self, from_hw: Tensor, to_hw: Tensor) -> Detections:
        """Map the boxes from an image to the same image in another size.

        Args:
            from_hw: ``[2]`` height and width of the image that the boxes are of.
            to_hw: ``[2]`` height and width of the other.
        """
        factor = (to_hw / from_hw).flip(0).repeat(2).to(self.boxes_xyxy)
        return replace(self, boxes_xyxy=self.boxes_xyxy * factor)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each box, see ``inference/conversions.py``."""
        from fcos_lightning.inference.conversions import to_pandas

        return to_pandas(self)

    def to_supervision(self) -> supervision.Detections:
        """Return Roboflow supervision's detections, see ``inference/conversions.py``."""
        from fcos_lightning.inference.conversions import to_supervision

        return to_supervision(self)

    def draw(self, image: AnyImage) -> PIL.Image.Image:
        """Return a copy of the image with the boxes drawn, see ``inference/conversions.py``."""
        from fcos_lightning.inference.conversions import drawn

        return drawn(self, image)
