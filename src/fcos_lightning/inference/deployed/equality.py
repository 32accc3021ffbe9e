"""Whether a file finds what the detector finds that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Detections

#: Images ``[B, 3, H, W]`` -> boxes, scores, labels, as a file gives them.
Run = Callable[[NDArray[np.uint8]], tuple[NDArray[np.generic], ...]]

BOX_PX, SCORE = 0.05, 1e-4


@dataclass(frozen=True)
class Compared:
    """How a comparison came out.

    Attributes:
        images: how many were looked at.
        detections: that were found in them.
        box_px: by how much a side differs at most, in pixels.
        score: by how much a score differs at most.
    """

    images: int
    detections: int
    box_px: float
    score: float


def check_same(
    detector: DenseDetector, run: Run, images: Iterable[tuple[str, NDArray[np.uint8]]]
) -> Compared:
    """Compare what a file finds with what its detector finds in torch, see ``compared``.

    Args:
        detector: in evaluation mode.
        run: the file.
        images: see ``compared``.

    Raises:
        UserError: naming the first image that differs, and how.
    """

    def found_by_file(planes: Tensor) -> Detections:
        return detections_of(run(planes.numpy()[None]))[0]

    try:
        return compared(detector, found_by_file, images)
    except DifferentError as error:
        raise UserError(f"nothing is written, as {error}") from None


def compared(
    detector: DenseDetector,
    find: Callable[[Tensor], Detections],
    images: Iterable[tuple[str, NDArray[np.uint8]]],
) -> Compared:
    """Compare what something else finds with what a detector finds in torch, image by image.

    Boxes may differ by ``BOX_PX`` pixels and scores by ``SCORE``; detections whose scores differ by
    less than that may stand in any order, and where an image has as many as are allowed, any of
    those may be the last.

    Args:
        detector: in evaluation mode.
        find: the other, of an image ``[3, H, W]``.
        images: their names, and uint8 RGB ``[H, W, 3]`` at the size that the detector sees.

    Raises:
        DifferentError: naming the first image that differs, and how.
    """
    count, total, box_px, score = 0, 0, 0.0, 0.0
    for name, image in images:
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        (wanted,) = detector.detect([planes])
        most = getattr(detector.decoder, "max_detections", None)
        try:
            off = _differences(find(planes), wanted.to("cpu"), most)
        except _OtherwiseError as error:
            raise DifferentError(
                f"its detections differ from torch's: image {count + 1}, {name}: {error}"
            ) from None
        box_px, score = max(box_px, off[0]), max(score, off[1])
        count, total = count + 1, total + len(wanted)
    return Compared(count, total, box_px, score)


def detections_of(outputs: Iterable[NDArray[np.generic]]) -> list[Detections]:
    """Return the detections of each image, of what a file gives for a batch."""
    boxes, scores, labels = (torch.from_numpy(np.asarray(output)) for output in outputs)
    return [
        Detections(box[label >= 0].float(), score[label >= 0].float(), label[label >= 0].long())
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]


class DifferentError(UserError):
    """Something finds other boxes than torch."""


class _OtherwiseError(Exception):
    """Says how detections differ."""


def _differences(found: Detections, wanted: Detections, most: int | None) -> tuple[float, float]:
    """Return by how many pixels and by how much of a score detections differ at most."""
    last = float(wanted.scores[-1]) if len(wanted) and len(wanted) == most else None

    def is_any_of_last(score: float) -> bool:
        return last is not None and abs(score - last) <= SCORE

    free = torch.ones(len(found), dtype=torch.bool)
    box_px, off_score = 0.0, 0.0
    for row, (box, score, label) in enumerate(
        zip(wanted.boxes_xyxy, wanted.scores.tolist(), wanted.labels.tolist(), strict=True)
    ):
        same = free & (found.labels == label)
        if not same.any():
            if is_any_of_last(score):
                continue
            raise _OtherwiseError(
                f"it does not find number {row + 1}, of class {label} with score {score:.4f} "
                f"({len(found)} found, {len(wanted)} in torch)"
            )
        apart = (found.boxes_xyxy - box).abs().amax(dim=1)
        wrong = torch.maximum(apart / BOX_PX, (found.scores - score).abs() / SCORE)
        nearest = int(torch.where(same, wrong, torch.inf).argmin())
        if float(wrong[nearest]) > 1:
            if is_any_of_last(score):
                continue
            raise _OtherwiseError(
                f"number {row + 1}, of class {label}, is off by {float(apart[nearest]):.3g} px "
                f"(allowed {BOX_PX}) and its score by "
                f"{abs(float(found.scores[nearest]) - score):.2g} (allowed {SCORE:g})"
            )
        free[nearest] = False
        box_px = max(box_px, float(apart[nearest]))
        off_score = max(off_score, abs(float(found.scores[nearest]) - score))
    for score in found.scores[free].tolist():
        if not is_any_of_last(score):
            raise _OtherwiseError(f"it finds one with score {score:.4f} that torch does not find")
    if bool((found.scores.diff() > 0).any()):
        raise _OtherwiseError("its detections do not stand best first")
    return box_px, off_score
