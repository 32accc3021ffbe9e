"""COCO's figures of made-up detections, beside pycocotools and faster-coco-eval.

Both start from the same arrays in memory and end with the twelve figures. pycocotools is handed
its annotations as the dictionaries it works on and its detections as the one array that its
``loadRes`` takes; making both is part of its time, as it is of ours to sort the arrays. Reading
files is part of neither.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Figure, Growth, Result, alternate, median, peak_mb, seconds
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.detections import DetectionTable, image_of_box, xywh_of
from fcos_lightning.structures import GroundTruth

TITLE = "COCO evaluation, 2,500 images, 245,000 detections"

IMAGES, PER_IMAGE, CLASSES = 2500, 98, 80
HEIGHT, WIDTH = 480, 640
SIZES = (10_000, 30_000, 100_000, IMAGES * PER_IMAGE, 500_000)
#: pycocotools needs a minute and a half for more.
PEER_UP_TO = IMAGES * PER_IMAGE
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def scene(images: int, seed: int = 0) -> tuple[GroundTruth, DetectionTable]:
    """Make up about 7 objects and 98 detections an image: half of them objects a little moved."""
    rng = np.random.default_rng(seed)
    counts = 1 + rng.poisson(6.3, images)
    first_box = np.concatenate([[0], np.cumsum(counts)])
    objects = int(first_box[-1])
    share = 1 / np.arange(1, CLASSES + 1)  # a few classes are frequent, as in COCO
    boxes, labels = _boxes(rng, objects), rng.choice(CLASSES, objects, p=share / share.sum())
    image_ids = rng.permutation(10 * images)[:images] + 1
    truth = GroundTruth(
        image_ids=image_ids,
        file_names=np.array([f"{image_id:012}.jpg" for image_id in image_ids]),
        sizes_hw=np.tile([HEIGHT, WIDTH], (images, 1)),
        first_box=first_box,
        boxes_xyxy=boxes,
        labels=labels,
        ignored=rng.random(objects) < 0.02,
        areas_px=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.4, 1, objects),
        class_names=tuple(f"class {number}" for number in range(1, CLASSES + 1)),
        category_ids=tuple(range(1, CLASSES + 1)),
    )
    image = np.repeat(np.arange(images), PER_IMAGE)
    owner = first_box[image] + rng.integers(0, counts[image])
    near = rng.random(len(image)) < 0.5
    sides = np.tile(boxes[owner, 2:] - boxes[owner, :2], (1, 2))
    moved = boxes[owner] + sides * rng.normal(0, 0.08, (len(image), 4))
    found = np.where(near[:, None], moved, _boxes(rng, len(image)))
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    chance = rng.choice(CLASSES, len(image), p=share / share.sum())
    detections = DetectionTable(
        image_ids=image_ids[image],
        boxes_xyxy=found.astype(np.float32),
        scores=np.where(near, rng.beta(3, 3, len(image)), rng.beta(1, 8, len(image))).astype(
            np.float32
        ),
        labels=np.where(near & (rng.random(len(image)) < 0.8), labels[owner], chance),
    )
    return truth, detections


def _boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Boxes of 8 to 300 px a side within the image."""
    sides = np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
    corners = rng.random((count, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def evaluate(truth: GroundTruth, detections: DetectionTable, library: str) -> Any:  # noqa: ANN401
    """Evaluate by a library as its documentation does; return its ``COCOeval``."""
    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    xywh = xywh_of(truth.boxes_xyxy)
    columns = (truth.image_ids[image_of_box(truth)], truth.labels, xywh, truth.areas_px)
    rows = zip(*(column.tolist() for column in (*columns, truth.ignored)), strict=True)
    api = COCO()
    api.dataset = {
        "info": {},
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in truth.image_ids.tolist()],
        "categories": [
            {"id": number, "name": name} for number, name in enumerate(truth.class_names, 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": label + 1,
                "bbox": bbox,
                "area": area,
                "iscrowd": int(crowd),
            }
            for number, (image_id, label, bbox, area, crowd) in enumerate(rows, 1)
        ],
    }
    results = np.column_stack(
        [
            detections.image_ids,
            xywh_of(detections.boxes_xyxy),
            detections.scores,
            detections.labels + 1,
        ]
    )
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
        evaluation = COCOeval(api, api.loadRes(results), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def difference(summary: dict[str, Any], evaluation: Any) -> float:  # noqa: ANN401
    """Return the largest difference of the twelve figures and of AP and AP50 of each class."""
    ours = [summary[name] for name in NAMES]
    theirs = list(evaluation.stats[:12])
    precision = evaluation.eval["precision"][..., 0, -1]
    for label, row in enumerate(summary["per_class"].values()):
        for name, values in (("AP", precision[:, :, label]), ("AP50", precision[0, :, label])):
            ours.append(row[name])
            theirs.append(values.mean())
    ours = [-1.0 if value is None else value for value in ours]  # as they write "no object"
    return float(np.abs(np.subtract(ours, theirs)).max())


def run(rounds: int) -> Result:
    """Measure the row, its memory, and how both grow with the number of detections."""
    truth, detections = scene(IMAGES)
    libraries = ["pycocotools"]
    if importlib.util.find_spec("faster_coco_eval"):
        libraries.append("faster-coco-eval")
    figures, notes, theirs_mb = [], [], {}
    ours_mb = peak_mb(lambda: coco_summary(truth, detections))
    for library in libraries:
        kept: list[Any] = []
        theirs_mb[library] = peak_mb(
            lambda kept=kept, library=library: kept.append(evaluate(truth, detections, library))
        )
        worst = difference(coco_summary(truth, detections), kept.pop())
        if worst > 1e-9:
            raise RuntimeError(f"the figures differ from those of {library} by {worst:.1e}")
        notes.append(
            f"The twelve figures, and AP and AP50 of each of the {CLASSES} classes, are those of "
            f"{library} within {worst:.1e}."
        )
    times = {}
    for library in libraries:
        times[library] = alternate(
            lambda: coco_summary(truth, detections),
            lambda library=library: evaluate(truth, detections, library),
            rounds,
            warmup=0,  # both have just run
        )
        target = 10 if library == "pycocotools" else None
        figures.append(Figure("", library, "s", *times[library], target=target))
    for library in libraries:
        figures.append(Figure("memory", library, "MB", [ours_mb], [theirs_mb[library]]))

    ours_s, theirs_s = [], []
    for size in SIZES:
        if size == len(detections):
            ours_s.append(median(times["pycocotools"][0]))
            theirs_s.append(median(times["pycocotools"][1]))
            continue
        more = scene(size // PER_IMAGE)
        ours_s.append(median([seconds(lambda more=more: coco_summary(*more)) for _ in range(3)]))
        one = size < PEER_UP_TO
        theirs_s.append(seconds(lambda m=more: evaluate(*m, "pycocotools")) if one else None)
    growth = Growth("COCO evaluation", "detections", SIZES, "pycocotools", ours_s, theirs_s)
    notes.append(
        f"From arrays in memory to the figures, {PER_IMAGE} detections and about 7 objects an "
        "image; the libraries' time holds making their dictionaries, not reading a file. "
        "pycocotools was left out of the curve above 245,000 detections because of its time."
    )
    return Result(figures, notes, [growth])
