"""Ground truth and detections for the tests of the evaluation."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth


def ground_truth(
    images: dict[int, list[tuple[list[float], int]]],
    *,
    ignored: Sequence[bool] | None = None,
    category_ids: tuple[int, ...] = (1, 2, 3),
    class_names: tuple[str, ...] | None = None,
) -> GroundTruth:
    """Image id -> its boxes xyxy with their labels; areas are those of the boxes."""
    rows = [row for boxes in images.values() for row in boxes]
    boxes_xyxy = np.array([box for box, _ in rows], dtype=np.float64).reshape(-1, 4)
    counts = [len(boxes) for boxes in images.values()]
    return GroundTruth(
        image_ids=np.array(list(images), dtype=np.int64),
        file_names=np.array([f"{image_id}.jpg" for image_id in images]),
        sizes_hw=np.full((len(images), 2), 400, dtype=np.int64),
        first_box=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=boxes_xyxy,
        labels=np.array([label for _, label in rows], dtype=np.int64),
        ignored=np.array(ignored if ignored is not None else [False] * len(rows), dtype=np.bool_),
        areas_px=(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1),
        class_names=class_names or tuple(f"class{number}" for number in category_ids),
        category_ids=category_ids,
    )


def table(rows: list[tuple[int, list[float], float, int]]) -> DetectionTable:
    """Rows of image id, box xyxy, score, label."""
    ids, boxes, scores, labels = zip(*rows, strict=True) if rows else ([], [], [], [])
    return DetectionTable(
        image_ids=np.array(ids, dtype=np.int64),
        boxes_xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float64),
        labels=np.array(labels, dtype=np.int64),
    )


def perfect(truth: GroundTruth) -> DetectionTable:
    """Exactly the boxes of the ground truth that count."""
    kept = ~truth.ignored
    return DetectionTable(
        image_ids=np.repeat(truth.image_ids, np.diff(truth.first_box))[kept],
        boxes_xyxy=truth.boxes_xyxy[kept],
        scores=np.linspace(0.9, 0.5, kept.sum()),
        labels=truth.labels[kept],
    )


def random_scene(
    seed: int, *, images: int = 6, classes: int = 3, steps: int = 8
) -> tuple[GroundTruth, DetectionTable]:
    """Boxes on a coarse grid and few different scores, so that ties of all kinds occur."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 7, images)
    total = int(counts.sum())
    corners = rng.integers(0, 20, (total, 2)) * 10.0
    boxes = np.concatenate([corners, corners + rng.integers(1, 16, (total, 2)) * 10.0], axis=1)
    image_ids = rng.permutation(images * 3)[:images]
    truth = GroundTruth(
        image_ids=image_ids,
        file_names=np.array([f"{image_id}.jpg" for image_id in image_ids]),
        sizes_hw=np.full((images, 2), 400),
        first_box=np.concatenate([[0], np.cumsum(counts)]),
        boxes_xyxy=boxes,
        labels=rng.integers(0, classes, total),
        ignored=rng.random(total) < 0.2,
        areas_px=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.4, 1, total),
        class_names=tuple(f"class{label}" for label in range(classes)),
        category_ids=tuple(range(classes)),
    )
    # Most detections are an object moved a little, some of another class; the others are anywhere.
    owner = rng.integers(0, max(total, 1), 3 * total)
    moved = boxes[owner] + rng.integers(-2, 3, (len(owner), 4)) * 5.0 if total else boxes
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 5)
    labels = np.where(
        rng.random(len(owner)) < 0.8, truth.labels[owner], rng.integers(0, classes, len(owner))
    )
    stray = np.tile([5.0, 5.0, 60.0, 90.0], (images, 1))
    ids = np.concatenate([np.repeat(image_ids, counts)[owner], image_ids])
    detections = DetectionTable(
        image_ids=ids,
        boxes_xyxy=np.concatenate([moved, stray]),
        scores=rng.integers(1, steps + 1, len(ids)) / steps,
        labels=np.concatenate([labels, rng.integers(0, classes, images)]),
    )
    return truth, detections


def coco_golden(folder: Path) -> tuple[GroundTruth, DetectionTable]:
    """The COCO API's own example, in the order of its files."""
    data = json.loads((folder / "instances_val2014_100.json").read_text())
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    label_of = {category["id"]: label for label, category in enumerate(data["categories"])}
    per_image = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        per_image[annotation["image_id"]].append(annotation)
    annotations = [row for rows in per_image.values() for row in rows]

    def xyxy(rows: list[dict]) -> np.ndarray:
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float64)
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)

    truth = GroundTruth(
        image_ids=np.array(list(per_image)),
        file_names=np.array([image["file_name"] for image in data["images"]]),
        sizes_hw=np.array([[image["height"], image["width"]] for image in data["images"]]),
        first_box=np.concatenate([[0], np.cumsum([len(rows) for rows in per_image.values()])]),
        boxes_xyxy=xyxy(annotations),
        labels=np.array([label_of[row["category_id"]] for row in annotations]),
        ignored=np.array([row["iscrowd"] == 1 for row in annotations]),
        areas_px=np.array([row["area"] for row in annotations], dtype=np.float64),
        class_names=tuple(category["name"] for category in data["categories"]),
        category_ids=tuple(label_of),
    )
    detections = DetectionTable(
        image_ids=np.array([row["image_id"] for row in results]),
        boxes_xyxy=xyxy(results),
        scores=np.array([row["score"] for row in results], dtype=np.float64),
        labels=np.array([label_of[row["category_id"]] for row in results]),
    )
    return truth, detections


def all_overlaps(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """IoU of each with each, by torchvision."""
    import torch
    from torchvision.ops import box_iou

    return box_iou(torch.from_numpy(first_xyxy), torch.from_numpy(second_xyxy)).numpy()
