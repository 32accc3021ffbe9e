"""Images with labels, and what a detector found in them."""

from __future__ import annotations

import numpy as np

from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth

Box = list[float]
SURE, LIKELY = 0.7, 0.4


def truth_of(images: list[list[tuple[int, Box]]], ignored: list[bool] | None = None) -> GroundTruth:
    rows = [row for image in images for row in image]
    counts = [len(image) for image in images]
    return GroundTruth(
        image_ids=np.arange(len(images)) + 10,
        file_names=np.array([f"{i}.png" for i in range(len(images))]),
        sizes_hw=np.tile([200, 300], (len(images), 1)),
        first_box=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=np.array([box for _, box in rows], dtype=float).reshape(-1, 4),
        labels=np.array([label for label, _ in rows], dtype=np.int64),
        ignored=np.array(ignored or [False] * len(rows), dtype=bool),
        areas_px=np.ones(len(rows)),
        class_names=("cat", "dog", "cow"),
        category_ids=(1, 2, 3),
    )


def table_of(images: list[list[tuple[int, float, Box]]]) -> DetectionTable:
    rows = [(i + 10, *row) for i, image in enumerate(images) for row in image]
    return DetectionTable(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[3] for row in rows], dtype=float).reshape(-1, 4),
        np.array([row[2] for row in rows], dtype=float),
        np.array([row[1] for row in rows], dtype=np.int64),
    )
