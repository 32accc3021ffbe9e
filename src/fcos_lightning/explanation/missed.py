"""Why an object was missed: the first that holds, from what is learnt to what is reported.

Legend: ``G`` boxes of the image, ``P`` points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fcos_lightning.explanation.answers import NO_POINT, OTHER_BOX, TOO_SMALL, Unanswered
from fcos_lightning.explanation.fates import KEPT, SUPPRESSED, Fates, iou_matrix

#: An overlap from which on a box counts as found, as for AP50.
FITS = 0.5
NO_FIT, WEAK, SUPPRESSED_BY = "no_fit", "weak", "suppressed"
LEFT_OUT, OTHER_OBJECT, UNKNOWN = "left_out", "other_object", "unknown"
#: What the reasons mean, in the order in which they are looked for.
REASONS = {
    TOO_SMALL: "too small: less than a pixel wide or high at this size",
    NO_POINT: "no point: no point of any level may answer for it",
    OTHER_BOX: "assigned to another box: all points that may answer for it answer for others",
    NO_FIT: f"no box fits: no point predicts a box that overlaps it by {FITS:g}",
    WEAK: "score below the threshold: boxes fit it, but none of its class scores enough",
    SUPPRESSED_BY: "suppressed: the box that fits it gave way to a stronger one",
    LEFT_OUT: "left out: its box is not among the best of its level, or of the image",
    OTHER_OBJECT: "counts for another object: its box was matched to a neighbour",
    UNKNOWN: "unknown: this decoder does not say what it leaves out",
}


@dataclass(frozen=True)
class Missed:
    """An object that was not found, and why.

    Attributes:
        row: which of the image's annotated boxes.
        reason: a key of ``REASONS``.
        by: for ``other_box`` the boxes that have its points.
        overlap: the largest of a predicted box with it, whatever that one's score; None: there is
            no prediction to look at.
        point: that predicts the box in question: of those that fit the one of the best score.
        score: of its class there; None: no box fits.
        candidate: for ``suppressed`` the candidate that suppressed it.
        other: the class of the best score among boxes that fit, where that is another one.
        other_score: its score.
    """

    row: int
    reason: str
    by: tuple[int, ...] = ()
    overlap: float | None = None
    point: int | None = None
    score: float | None = None
    candidate: int | None = None
    other: int | None = None
    other_score: float | None = None


def missed_because(
    boxes_xyxy: Tensor,
    labels: Tensor,
    rows: Tensor,
    found: Tensor,
    unanswered: list[Unanswered],
    fates: Fates | None,
    threshold: float,
) -> list[Missed]:
    """Return the objects of an image that were not found, each with its reason.

    Args:
        boxes_xyxy: ``[G, 4]`` pixels of the image as the detector sees it.
        labels: ``[G]``.
        rows: ``[G]`` which of the annotated boxes they are.
        found: ``[G]`` bool, those that a detection of ``threshold`` or more was matched to.
        unanswered: of this image.
        fates: of its candidates; None: unknown, so that only reasons of the mapping can be given.
        threshold: score that a detection needs.
    """
    of_row = {one.row: one for one in unanswered}
    there = {row: box for box, row in enumerate(rows.tolist())}
    missed = [Missed(one.row, one.reason) for one in unanswered if one.row not in there]
    for row, box in there.items():
        if found[box]:
            continue
        seen = _seen(boxes_xyxy[box], int(labels[box]), row, fates, threshold)
        lost = of_row.get(row)
        if lost is not None:
            seen = replace(seen, reason=lost.reason, by=lost.by, candidate=None)
        missed.append(seen)
    return sorted(missed, key=lambda one: one.row)


def _seen(box: Tensor, label: int, row: int, fates: Fates | None, threshold: float) -> Missed:
    """Tell what the prediction has for an object, as if a point answered for it."""
    if fates is None:
        return Missed(row, UNKNOWN)
    overlaps = iou_matrix(fates.boxes_xyxy, box[None])[:, 0]
    most = float(overlaps.max()) if len(overlaps) else 0.0
    (fitting,) = (overlaps >= FITS).nonzero(as_tuple=True)
    if not len(fitting):
        return Missed(row, NO_FIT, overlap=most)
    score, at = fates.scores[fitting, label].max(dim=0)
    best_of_class = fates.scores[fitting].amax(dim=0)
    other = int(best_of_class.argmax())
    seen = Missed(
        row,
        WEAK,
        overlap=most,
        point=int(fitting[at]),
        score=float(score),
        other=other if other != label else None,
        other_score=float(best_of_class[other]) if other != label else None,
    )
    is_it = torch.isin(fates.point, fitting) & (fates.label == label) & (fates.score >= threshold)
    (its,) = is_it.nonzero(as_tuple=True)  # the best first
    if not len(its):
        return seen
    fate = fates.fate[its]
    for wanted, reason in ((SUPPRESSED, SUPPRESSED_BY), (KEPT, OTHER_OBJECT)):
        if (fate == wanted).any():
            first = int(its[fate == wanted][0])
            return replace(
                seen,
                reason=reason,
                point=int(fates.point[first]),
                score=float(fates.score[first]),
                candidate=int(fates.by[first]) if wanted == SUPPRESSED else first,
            )
    return replace(seen, reason=LEFT_OUT)
