"""Detections read back from ``predictions.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from fcos_lightning.errors import UserError, shown
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth


class _Row(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float
    file_name: str = ""


def read_predictions(file: Path, truth: GroundTruth) -> DetectionTable:
    """Read what ``write_predictions`` wrote, in the same order.

    Args:
        file: detections in COCO's results format.
        truth: annotations of the images that they are of.

    Raises:
        UserError: if the file cannot be read, or an image or class of it is not in ``truth``.
    """
    try:
        rows = msgspec.json.decode(file.read_bytes(), type=list[_Row])
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{file}: is no list of detections: {error}") from error
    names = dict(zip(truth.image_ids.tolist(), truth.file_names.tolist(), strict=True))
    label_of = {category: label for label, category in enumerate(truth.category_ids)}
    for row in rows:
        if row.image_id not in names or row.file_name not in ("", names[row.image_id]):
            raise UserError(
                f"{file}: image {row.image_id}, {shown(row.file_name)}, is not of this data set"
            )
        if row.category_id not in label_of:
            raise UserError(f"{file}: class {row.category_id} is not of this data set")
    xywh = np.array([row.bbox for row in rows], dtype=np.float64).reshape(-1, 4)
    try:
        return DetectionTable(
            image_ids=np.array([row.image_id for row in rows], dtype=np.int64),
            boxes_xyxy=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
            scores=np.array([row.score for row in rows], dtype=np.float64),
            labels=np.array([label_of[row.category_id] for row in rows], dtype=np.int64),
        )
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
