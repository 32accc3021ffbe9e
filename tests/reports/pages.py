"""A data set whose names are made to break a page, and its report."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.reports.advice import Circumstances
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.structures import GroundTruth

#: Names of classes: markup, quotes, right to left, emoji, a template, the end of a script.
NAMES = (
    "<script>document.title='broken'</script>",
    "a \"quoted\" 'name' & more",
    "\u05e1\u05d5\u05e1 \u05e0\u05d7\u05de\u05d3",  # Hebrew, from right to left
    "🚲 bicycle 👩‍🚀",
    "{{ 7 * 7 }}</script><!--",
)
FILES = (
    "<img src=x onerror=alert(1)>.png",
    "with \"quotes\" and 'more'.png",
    "تصویر.png",
    "🦄.png",
    "${7*7} {% raw %}.png",
    "a" * 120 + ".png",
)


def hostile_split(folder: Path, seed: int = 0) -> tuple[DataSplit, DetectionTable]:
    """Images on the disk under such names, objects, and detections that are often wrong."""
    rng = np.random.default_rng(seed)
    files, boxes, labels, counts = [], [], [], []
    for number, name in enumerate((*FILES, *(f"plain_{i}.png" for i in range(6)))):
        width, height = ((320, 240), (64, 64), (900, 300))[number % 3]
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / name)
        here = int(rng.integers(1, 9))
        corner = rng.random((here, 2)) * (0.7 * width, 0.7 * height)
        size = (0.1 + 0.2 * rng.random((here, 2))) * (width, height)
        boxes.append(np.concatenate([corner, corner + size], axis=1))
        labels.append(rng.integers(0, len(NAMES), here))
        files.append(name)
        counts.append(here)
    all_boxes, all_labels = np.concatenate(boxes), np.concatenate(labels)
    sizes = [Image.open(folder / name).size[::-1] for name in files]
    truth = GroundTruth(
        image_ids=np.arange(len(files)) + 1,
        file_names=np.array(files),
        sizes_hw=np.array(sizes),
        first_box=np.concatenate([[0], np.cumsum(counts)]),
        boxes_xyxy=all_boxes,
        labels=all_labels,
        ignored=rng.random(len(all_labels)) < 0.1,
        areas_px=(all_boxes[:, 2:] - all_boxes[:, :2]).prod(axis=1),
        class_names=NAMES,
        category_ids=tuple(range(len(NAMES))),
    )
    return DataSplit(truth, folder, {}, "val"), detections_of(truth, rng)


def detections_of(truth: GroundTruth, rng: np.random.Generator) -> DetectionTable:
    """Each object a few times, moved, some under another class; and some anywhere."""
    own = np.repeat(np.arange(len(truth.labels)), 3)
    images = np.repeat(np.arange(len(truth)), np.diff(truth.first_box))[own]
    boxes = truth.boxes_xyxy[own]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + sides * rng.normal(0, 0.12, boxes.shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    other = rng.integers(0, len(truth.class_names), len(own))
    labels = np.where(rng.random(len(own)) < 0.75, truth.labels[own], other)
    kept = rng.random(len(own)) < 0.7
    return DetectionTable(
        truth.image_ids[images][kept],
        boxes[kept],
        rng.random(kept.sum()).astype(np.float32),
        labels[kept],
    )


def write_course(file: Path) -> Path:
    """A ``metrics.csv`` of a hundred steps."""
    names = ("step", "train/cls", "train/loss", "val/AP", "val/AP50", "speed/lr")
    more = ("speed/images_per_s", "speed/wait_share", "positives/P3", "positives/P4")
    with file.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow((*names, *more))
        for step in range(0, 100, 2):
            ap = (step / 200, step / 150) if step % 10 == 0 else ("", "")
            rows.writerow((step, 1 / (step + 1), 2 / (step + 1), *ap, 0.1, 20, 0.3, 9, step % 7))
    return file


def hostile_report(folder: Path) -> RunFolder:
    """Write the report of such a data set."""
    from fcos_lightning.reports.report import write_report

    images = folder / "images"
    images.mkdir()
    split, table = hostile_split(images)
    around = Circumstances(
        800, 1333, (8, 16, 32), [5, 50, 500, 5000, 99], write_course(folder / "metrics.csv")
    )
    run = RunFolder(folder / "run")
    summary = coco_summary(split.truth, table)
    write_report(run, split, table, summary, around, "runs/<b>bold</b>/best.ckpt")
    return run
