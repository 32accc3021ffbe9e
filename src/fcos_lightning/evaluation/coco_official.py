"""COCO's matching and counting of boxes by pycocotools, fed from our arrays."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lightning.evaluation.detections import DetectionTable, image_of_box, xywh_of
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray


def official_precision_and_recall(
    truth: GroundTruth, detections: DetectionTable, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate boxes by pycocotools.

    Args:
        truth: annotations of the images to be evaluated.
        detections: boxes in the frame of the original images.
        positions: ``[K]`` int64, in which image of ``truth`` each detection lies.

    Returns:
        As `coco_arrays.precision_and_recall`: ``[10, 101, C, 4]`` with 100 detections per image
        and class, and ``[10, C, 4, 3]``; -1 where there is nothing to find.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

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
    # pycocotools prints its progress; redirecting is the only way to stop it.
    with contextlib.redirect_stdout(io.StringIO()):
        truth_api, results_api = COCO(), COCO()
        results = _results(truth, detections, positions)
        for api, rows in ((truth_api, _annotations(truth)), (results_api, results)):
            api.dataset = {"images": images, "categories": categories, "annotations": rows}
            api.createIndex()
        evaluation = COCOeval(truth_api, results_api, iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (
        np.asarray(evaluation.eval[name], dtype=np.float64) for name in ("precision", "recall")
    )
    return precision[..., -1], recall


def _annotations(truth: GroundTruth) -> list[dict[str, Any]]:
    """Ground truth in COCO's format.

    Ids are counted from 1: pycocotools marks "unmatched" by 0, so that an object with id 0
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
