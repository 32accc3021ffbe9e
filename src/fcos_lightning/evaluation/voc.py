"""PASCAL VOC mAP: the 11-point figure of VOC2007 and the area figure used from 2010 on.

Source: the VOC development kits (M. Everingham et al., "The PASCAL Visual Object Classes
Challenge", IJCV 2010). As in the official FCOS repository, an overlap equal to the threshold is
enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lightning.evaluation.detections import (
    DetectionTable,
    class_keys,
    counted_boxes,
    image_of_box,
)
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Multiples of 0.1 as floating point gives them, like MATLAB's 0:0.1:1 in the development kit.
_ELEVEN_RECALLS = np.arange(11) * 0.1


def voc_summary(
    truth: GroundTruth,
    detections: DetectionTable,
    iou: float = 0.5,
    *,
    overlap_margin_px: float = 0.0,
) -> dict[str, Any]:
    """Evaluate boxes as PASCAL VOC does.

    A detection belongs to the object of its class and image that it overlaps most. It is right if
    the overlap reaches ``iou`` and no better scored detection belongs to the same object, and
    wrong otherwise; but if that object is ignored ("difficult") it is neither.

    Args:
        truth: annotations, right and bottom ends of the boxes exclusive.
        detections: boxes in the frame of the original images.
        iou: overlap that makes a detection right.
        overlap_margin_px: added to the right and bottom ends of all boxes before overlaps are
            taken. 0 is the development kits' definition; 1 gives the figures of the official FCOS
            repository, which makes the ends of inclusive boxes exclusive and then adds the pixel
            a second time inside its overlap.

    Returns:
        ``mAP_11point``, ``mAP_area``: means over the classes that have an object, None if none
        has. ``per_class``: class name -> ``{"AP_11point", "AP_area", "boxes"}``; ``boxes`` counts
        the objects not ignored, and both AP are None for a class without any.

    Raises:
        ValueError: if a detection has an image id or a label that ``truth`` does not know.
    """
    positions = detections.image_positions(truth)
    box_images = image_of_box(truth)
    best_first = np.argsort(-detections.scores.astype(np.float64), kind="stable")
    boxes = counted_boxes(truth)
    margin = np.array([0.0, 0.0, overlap_margin_px, overlap_margin_px])
    per_class: dict[str, dict[str, Any]] = {}
    for label, key in enumerate(class_keys(truth)):
        eleven: float | None = None
        area: float | None = None
        if boxes[label] > 0:
            found = best_first[detections.labels[best_first] == label]
            wanted = np.flatnonzero(truth.labels == label)
            right, neither = _judge(
                detections.boxes_xyxy[found].astype(np.float64) + margin,
                positions[found],
                truth.boxes_xyxy[wanted] + margin,
                box_images[wanted],
                truth.ignored[wanted],
                iou,
            )
            counted = right[~neither]
            right_so_far = np.cumsum(counted)
            recall = right_so_far / boxes[label]
            precision = right_so_far / np.arange(1, len(counted) + 1)
            eleven, area = _ap_11point(recall, precision), _ap_area(recall, precision)
        per_class[key] = {"AP_11point": eleven, "AP_area": area, "boxes": int(boxes[label])}
    return {
        f"mAP_{kind}": _mean([row[f"AP_{kind}"] for row in per_class.values()])
        for kind in ("11point", "area")
    } | {"per_class": per_class}


def _mean(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if known else None


def _judge(
    found_xyxy: NDArray[np.float64],
    found_images: NDArray[np.int64],
    wanted_xyxy: NDArray[np.float64],
    wanted_images: NDArray[np.int64],
    wanted_ignored: NDArray[np.bool_],
    iou: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections of one class are right, and which are neither right nor wrong.

    All images are handled at once: each detection is paired with the objects of its image.

    Args:
        found_xyxy: ``[K, 4]`` detections, best first.
        found_images: ``[K]`` image of each.
        wanted_xyxy: ``[M, 4]`` objects.
        wanted_images: ``[M]`` image of each, ascending.
        wanted_ignored: ``[M]``.
        iou: least overlap.

    Returns:
        Two ``[K]`` bool arrays: right, neither.
    """
    right = np.zeros(len(found_xyxy), dtype=np.bool_)
    neither = np.zeros(len(found_xyxy), dtype=np.bool_)
    first = np.searchsorted(wanted_images, found_images, side="left")
    partners = np.searchsorted(wanted_images, found_images, side="right") - first
    has_partner = np.flatnonzero(partners)
    if len(has_partner) == 0:
        return right, neither
    first, partners = first[has_partner], partners[has_partner]
    start = np.cumsum(partners) - partners
    pair_found = np.repeat(np.arange(len(has_partner)), partners)
    pair_wanted = np.arange(partners.sum()) - np.repeat(start - first, partners)
    overlap = _paired_iou(found_xyxy[has_partner][pair_found], wanted_xyxy[pair_wanted])

    best = np.maximum.reduceat(overlap, start)
    is_best = np.flatnonzero(overlap == best[pair_found])
    # Of equal overlaps the first object wins, as argmax has it; every detection has one.
    _, first_best = np.unique(pair_found[is_best], return_index=True)
    owner = pair_wanted[is_best[first_best]]

    enough = best >= iou
    neither[has_partner] = enough & wanted_ignored[owner]
    claiming = np.flatnonzero(enough & ~wanted_ignored[owner])
    _, best_scored = np.unique(owner[claiming], return_index=True)
    right[has_partner[claiming[best_scored]]] = True
    return right, neither


def _paired_iou(
    first_xyxy: NDArray[np.float64], second_xyxy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Overlap of row with row: two ``[K, 4]`` arrays of boxes to ``[K]``; 0 for empty boxes."""
    top_left = np.maximum(first_xyxy[:, :2], second_xyxy[:, :2])
    bottom_right = np.minimum(first_xyxy[:, 2:], second_xyxy[:, 2:])
    shared = (bottom_right - top_left).clip(min=0).prod(axis=1)
    areas = [(b[:, 2:] - b[:, :2]).clip(min=0).prod(axis=1) for b in (first_xyxy, second_xyxy)]
    union = areas[0] + areas[1] - shared
    overlap: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return overlap


def _ap_11point(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Mean over eleven recalls of the best precision at that recall or above."""
    best = [precision[recall >= least].max(initial=0.0) for least in _ELEVEN_RECALLS]
    return float(np.mean(best))


def _ap_area(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Area below the precision-recall curve after making precision fall monotonically."""
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float((steps * falling).sum())
