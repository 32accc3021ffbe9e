"""How far two detectors are apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fcos_lightning.structures import Detections


@dataclass(frozen=True)
class Difference:
    """The largest differences between a source and the detector loaded from its checkpoint.

    Attributes:
        source: whose code it is.
        config: the source's name of the model.
        cls: of class logits.
        ltrb_px: of distances in pixels.
        ltrb_excess_px: by which they exceed 1e-4 of the distance.
        quality: of quality logits; None where there are none.
        boxes_px: of boxes, each matched with one of equal label.
        scores: of their scores.
        unmatched: detections without a counterpart within 0.05 px, on either side.
        detections: of the source.
        sample: some of our numbers, to be recorded: class logits, distances in pixels and quality
            logits of a few points, the best score of each image.
    """

    source: str
    config: str
    cls: float
    ltrb_px: float
    ltrb_excess_px: float
    quality: float | None
    boxes_px: float
    scores: float
    unmatched: int
    detections: int
    sample: tuple[float, ...]

    def row(self) -> str:
        """Return a line of the table."""
        numbers = (self.cls, self.ltrb_px, self.quality, self.boxes_px, self.scores)
        shown = " | ".join("-" if number is None else f"{number:.1e}" for number in numbers)
        same = f"{self.detections}, all the same" if not self.unmatched else f"{self.unmatched} off"
        return f"| {self.source} | {self.config} | {shown} | {same} |"


def by_point(maps: list[Tensor]) -> Tensor:
    """Return maps ``[B, C, H, W]`` of all levels as ``[B, P, C]``."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)


def difference(
    name: tuple[str, str],
    cls: tuple[Tensor, Tensor],
    ltrb_px: tuple[Tensor, Tensor],
    quality: tuple[Tensor, Tensor] | None,
    detections: tuple[list[Detections], list[Detections]],
) -> Difference:
    """Return the largest differences of pairs (ours, the source's)."""
    boxes, scores, unmatched = 0.0, 0.0, 0
    for ours, theirs in zip(*detections, strict=True):
        left = set(range(len(ours)))
        for box, score, label in zip(theirs.boxes_xyxy, theirs.scores, theirs.labels, strict=True):
            apart = (ours.boxes_xyxy - box).abs().amax(dim=1)
            off = (ours.scores - score).abs()
            near = (apart < 0.05) & (off < 1e-4) & (ours.labels == label)
            match = next((row for row in near.nonzero().flatten().tolist() if row in left), None)
            if match is None:
                unmatched += 1
                continue
            left.discard(match)
            boxes, scores = max(boxes, float(apart[match])), max(scores, float(off[match]))
        unmatched += len(left)
    return Difference(
        *name,
        cls=_largest(*cls),
        ltrb_px=_largest(*ltrb_px),
        ltrb_excess_px=float(((ltrb_px[0] - ltrb_px[1]).abs() - 1e-4 * ltrb_px[1].abs()).amax()),
        quality=None if quality is None else _largest(*quality),
        boxes_px=boxes,
        scores=scores,
        unmatched=unmatched,
        detections=sum(len(theirs) for theirs in detections[1]),
        sample=_sample(cls[0], ltrb_px[0], quality and quality[0], detections[0]),
    )


def _sample(
    cls: Tensor, ltrb_px: Tensor, quality: Tensor | None, found: list[Detections]
) -> tuple[float, ...]:
    points = torch.linspace(0, cls.shape[1] - 1, 5).long()
    numbers = [cls[:, points, :: cls.shape[2] // 2], ltrb_px[:, points]]
    numbers += [] if quality is None else [quality[:, points]]
    numbers += [one.scores[:1] for one in found]
    return tuple(round(float(number), 4) for part in numbers for number in part.flatten())


def _largest(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f"{list(ours.shape)} against {list(theirs.shape)}")
    return float((ours - theirs).abs().amax())
