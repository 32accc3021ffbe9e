"""COCO AP and AR of boxes, by our own arrays (the same figures, sooner) or by pycocotools.

The definition of the figures is https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fcos_lightning.evaluation.coco_arrays import precision_and_recall
from fcos_lightning.evaluation.detections import DetectionTable, class_keys, counted_boxes
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

Backend = Literal["pycocotools", "faster"]

OVERALL = ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")
BY_SIZE = ("APs", "APm", "APl", "ARs", "ARm", "ARl")


def coco_summary(
    truth: GroundTruth, detections: DetectionTable, *, backend: Backend = "faster"
) -> dict[str, Any]:
    """Evaluate boxes as COCO does.

    Every image of ``truth`` counts, with or without detections. Ignored objects are COCO's
    crowds: a detection on one is neither right nor wrong. ``truth.areas_px`` decides between
    small (below 32^2), medium (below 96^2) and large.

    Args:
        truth: annotations of the images to be evaluated.
        detections: boxes in the frame of the original images, 100 best per image and class used.
        backend: who matches and counts: ``"faster"`` is `coco_arrays`.

    Returns:
        ``AP, AP50, AP75, AR1, AR10, AR100``: numbers from 0 to 1, None if nothing is there to be
        found. ``APs, APm, APl, ARs, ARm, ARl``: the same by size of the object, None where the
        ground truth has no object of that size. ``per_class``: class name -> ``{"AP", "AP50",
        "boxes"}``, in the order of the classes; ``boxes`` counts the objects not ignored, and AP
        is None for a class without any.

    Raises:
        ValueError: if a detection has an image id or a label that ``truth`` does not know, or
            the backend is unknown.
    """
    if backend not in ("pycocotools", "faster"):
        raise ValueError(f"backend must be 'pycocotools' or 'faster', not {backend!r}")
    positions = detections.image_positions(truth)
    boxes = counted_boxes(truth)
    if boxes.sum() == 0:
        # Nothing can be found, and not every release of pycocotools survives having no image.
        precision, recall = np.full((10, 101, len(boxes), 4), -1.0), np.full((10, 1, 4, 3), -1.0)
    elif backend == "pycocotools":
        from fcos_lightning.evaluation.coco_official import official_precision_and_recall

        precision, recall = official_precision_and_recall(truth, detections, positions)
    else:
        precision, recall = precision_and_recall(truth, detections, positions)
    figures = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[5, ..., 0]),
        **{f"AP{size}": _mean(precision[..., place]) for place, size in enumerate("sml", 1)},
        **{f"AR{limit}": _mean(recall[..., 0, place]) for place, limit in enumerate((1, 10, 100))},
        **{f"AR{size}": _mean(recall[..., place, 2]) for place, size in enumerate("sml", 1)},
    }
    summary: dict[str, Any] = {name: figures[name] for name in OVERALL}
    summary |= {name: figures[name] for name in BY_SIZE}
    summary["per_class"] = {
        key: {
            "AP": _mean(precision[:, :, label, 0]),
            "AP50": _mean(precision[0, :, label, 0]),
            "boxes": int(boxes[label]),
        }
        for label, key in enumerate(class_keys(truth))
    }
    return summary


def measurable(truth: GroundTruth, protocol: str = "coco") -> set[str]:
    """Return the names of the figures that a ground truth has something to be found for."""
    areas = truth.areas_px[~truth.ignored]
    if not len(areas):
        return set()
    sizes = {"s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, np.inf)}
    found = {s for s, (low, high) in sizes.items() if ((areas >= low) & (areas <= high)).any()}
    by_size = {f"{kind}{size}" for size in found for kind in ("AP", "AR")}
    return {*OVERALL, *by_size, *(("mAP_11point", "mAP_area") if protocol == "voc" else ())}


def _mean(values: NDArray[np.float64]) -> float | None:
    """Mean over what there is to be found; -1 stands where there is nothing of the kind."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
