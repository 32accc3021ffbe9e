"""COCO AP and AR of boxes, by pycocotools (final figures) or faster-coco-eval (training).

Both evaluators get the same lists and give the same figures; the second does the matching in
C++. The definition of the figures is https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fcos_lightning.evaluation.table import (
    DetectionTable,
    class_keys,
    counted_boxes,
    image_of_box,
    xywh_of,
)
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

Backend = Literal["pycocotools", "faster"]

OVERALL = ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")
BY_SIZE = ("APs", "APm", "APl", "ARs", "ARm", "ARl")

# The order in which `COCOeval.summarize` of both libraries fills `stats`.
_STATS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)


def coco_summary(
    truth: GroundTruth, detections: DetectionTable, *, backend: Backend = "pycocotools"
) -> dict[str, Any]:
    """Evaluate boxes as COCO does.

    Every image of ``truth`` counts, with or without detections. Ignored objects are COCO's
    crowds: a detection on one is neither right nor wrong. ``truth.areas_px`` decides between
    small (below 32^2), medium (below 96^2) and large.

    Args:
        truth: annotations of the images to be evaluated.
        detections: boxes in the frame of the original images, 100 best per image and class used.
        backend: which library matches and counts.

    Returns:
        ``AP, AP50, AP75, AR1, AR10, AR100``: numbers from 0 to 1, 0.0 if nothing is there to be
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
        # Nothing can be found, and not every release of the libraries survives having no image.
        stats, precision = np.full(12, -1.0), np.full((10, 101, len(boxes), 4, 3), -1.0)
    else:
        annotations = _annotations(truth)
        results = _results(truth, detections, positions)
        stats, precision = _run(truth, annotations, results, backend)
    figures = dict(zip(_STATS, stats.tolist(), strict=True))
    summary: dict[str, Any] = {
        name: max(figure, 0.0) if name in OVERALL else _or_none(figure)
        for name, figure in figures.items()
    }
    # precision is [thresholds, recalls, classes, sizes, limits]: all sizes, 100 detections.
    per_class = precision[:, :, :, 0, 2]
    summary["per_class"] = {
        key: {
            "AP": _or_none(float(per_class[:, :, label].mean())),
            "AP50": _or_none(float(per_class[0, :, label].mean())),
            "boxes": int(boxes[label]),
        }
        for label, key in enumerate(class_keys(truth))
    }
    return summary


def _or_none(figure: float) -> float | None:
    """Both libraries write -1 where there is no ground truth of the kind."""
    return None if figure < 0 else figure


def _annotations(truth: GroundTruth) -> list[dict[str, Any]]:
    """Ground truth in COCO's format.

    Ids are counted from 1: both libraries mark "unmatched" by 0, so that an object with id 0
    could never be found.
    """
    columns = zip(
        truth.image_ids[image_of_box(truth)].tolist(),
        truth.labels.tolist(),
        xywh_of(truth.boxes_xyxy).tolist(),
        truth.areas_px.tolist(),
        truth.ignored.tolist(),
        strict=True,
    )
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": bbox,
            "area": area,
            "iscrowd": int(ignored),
        }
        for number, (image_id, label, bbox, area, ignored) in enumerate(columns, start=1)
    ]


def _results(
    truth: GroundTruth, detections: DetectionTable, positions: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Detections in COCO's format, completed as `COCO.loadRes` would (which fails on none)."""
    xywh = xywh_of(detections.boxes_xyxy)
    columns = zip(
        truth.image_ids[positions].tolist(),
        detections.labels.tolist(),
        xywh.tolist(),
        (xywh[:, 2] * xywh[:, 3]).tolist(),
        detections.scores.astype(np.float64).tolist(),
        strict=True,
    )
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": bbox,
            "area": area,
            "iscrowd": 0,
            "score": score,
        }
        for number, (image_id, label, bbox, area, score) in enumerate(columns, start=1)
    ]


def _run(
    truth: GroundTruth,
    annotations: list[dict[str, Any]],
    results: list[dict[str, Any]],
    backend: Backend,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The twelve figures ``[12]`` and the precision ``[10, 101, C, 4, 3]``; -1 is "no object"."""
    if backend == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        # pycocotools prints its progress; redirecting is the only way to stop it.
        quiet: contextlib.AbstractContextManager[object] = contextlib.redirect_stdout(io.StringIO())
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

        quiet = contextlib.nullcontext()
    images = [
        {"id": image_id, "height": height, "width": width}
        for image_id, (height, width) in zip(
            truth.image_ids.tolist(), truth.sizes_hw.tolist(), strict=True
        )
    ]
    # Labels counted from 1 stand in for the data set's ids, so class k is column k of the results.
    categories = [
        {"id": label, "name": name} for label, name in enumerate(truth.class_names, start=1)
    ]
    with quiet:
        truth_api, results_api = COCO(), COCO()
        for api, rows in ((truth_api, annotations), (results_api, results)):
            api.dataset = {"images": images, "categories": categories, "annotations": rows}
            api.createIndex()
        evaluation = COCOeval(truth_api, results_api, iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = np.asarray(evaluation.eval["precision"], dtype=np.float64)
    return np.asarray(evaluation.stats[:12], dtype=np.float64), precision
