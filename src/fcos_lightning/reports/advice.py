"""What to do next, in sentences with their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lightning.data.resizing import fitting_scale
from fcos_lightning.evaluation.matches import Matches
from fcos_lightning.printing import grouped

#: What can be done about each kind of error.
_REMEDIES = {
    "class": "look at the confused classes below: are they told apart in the labels, and are there "
    "enough boxes of both?",
    "box": "boxes of the labels may be loose, or the image too small: look at the worst images, "
    "and try a larger data.shorter_side=",
    "both": "these detections are mostly noise: train longer, or raise the score threshold",
    "duplicate": "lower decoder.nms_iou= for fewer boxes on one object",
    "background": "add images without objects, or look whether objects were left unlabelled",
    "missed": "see below which sizes are missed; a larger data.shorter_side= or more epochs help "
    "small ones",
}
#: Fewer boxes of a class than this, in training, are few.
FEW_BOXES = 100
#: Of AP: less than this is within what two runs differ by.
_LITTLE = 0.005
_MORE_DATA = "What more images would bring is measured by fcos-train -m sweep=learning_curve"
#: Of a class's objects, so few taken for another class are not worth a remedy.
_SELDOM = 0.02
#: A class of so many objects tells something; found by so much less than all, it is worth a word.
_TELLING, _FAR_LESS = 10, 0.6


@dataclass(frozen=True)
class Circumstances:
    """What is known of a checkpoint beside its detections.

    Attributes:
        shorter_side: of evaluated images after resizing, in pixels.
        longer_side: what the longer side may at most become.
        strides: of the levels, in pixels of the resized image.
        train_boxes: boxes of each class in the training split; None: not known.
        metrics_csv: of its run; None: not known.
    """

    shorter_side: int
    longer_side: int
    strides: Sequence[int]
    train_boxes: Sequence[int] | None = None
    metrics_csv: Path | None = None


def advice(
    numbers: Mapping[str, Any], matches: Matches, around: Circumstances
) -> list[dict[str, str]]:
    """Return what to do next, what matters most first.

    Args:
        numbers: of the report, with its course and its labels to check.
        matches: of the data set.
        around: what else is known.

    Returns:
        ``about`` and ``text`` of each.
    """
    if not numbers["objects"]:
        return [_said("data", f"{numbers['split']} has no object to be found: nothing is measured")]
    return [
        *_threshold(numbers, matches),
        *_errors(numbers),
        *_weakest(numbers),
        *_small(numbers, matches, around),
        *_epochs(numbers["course"]),
        *_few_boxes(numbers, around),
        *_confused(numbers),
        *_labels(numbers),
        *_scores(numbers),
        *_waiting(numbers["course"]),
    ]


def _said(about: str, text: str) -> dict[str, str]:
    return {"about": about, "text": text if text.endswith("?") else f"{text}."}


def _threshold(numbers: Mapping[str, Any], matches: Matches) -> Iterator[dict[str, str]]:
    best = numbers["best"]
    if matches.table.none_has_area:
        yield _said(
            "threshold",
            f"None of {grouped(len(matches.table))} detections has an area: the detector's "
            "distances are 0 everywhere and learn nothing more; train anew with a lower "
            "schedule.lr",
        )
        return
    if best is None:
        yield _said(
            "threshold",
            f"No detection is right at IoU .5 among {grouped(numbers['detections'])}: "
            "train longer, and look at the worst images whether boxes and labels are where they "
            "should be",
        )
        return
    yield _said(
        "threshold",
        f"Use score_threshold={best['threshold']:g}: F1 is highest there, with precision "
        f"{best['precision']:.2f} and recall {best['recall']:.2f}. thresholds=thresholds.json has "
        "one for each class",
    )


def _errors(numbers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    worst = max(numbers["errors"]["kinds"], key=lambda row: float(row["cost"]))
    if worst["cost"] >= _LITTLE:
        yield _said(
            "errors",
            f"Errors of kind {worst['kind']} ({worst['meaning']}) cost most: AP50 would be "
            f"{worst['cost']:.3f} higher without them; {_REMEDIES[worst['kind']].rstrip('.')}",
        )


def _weakest(numbers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The class that is missed most, where it is missed far more than all together."""
    best = numbers["best"]
    rows = [row for row in numbers["classes"] if row["objects"] >= _TELLING]
    if best is None or len(rows) < 2:
        return
    row = min(rows, key=lambda row: float(row["at_threshold"]["recall"]))
    recall = float(row["at_threshold"]["recall"])
    if recall >= _FAR_LESS * best["recall"]:
        return
    own = row["best"]
    better = (
        f"; its own threshold, {own['threshold']:g}, finds {own['recall']:.2f} of them, with "
        f"precision {own['precision']:.2f}"
        if own and own["recall"] > recall
        else ""
    )
    yield _said(
        "class",
        f"{row['name']} is missed most: {grouped(round(row['objects'] * (1 - recall)))} of "
        f"{grouped(row['objects'])} objects at {best['threshold']:g}{better}",
    )


def _small(
    numbers: Mapping[str, Any], matches: Matches, around: Circumstances
) -> Iterator[dict[str, str]]:
    """Objects smaller than a cell of the finest level: often no point lies within their centre."""
    truth, finest = matches.truth, min(around.strides)
    scales = np.array(
        [
            fitting_scale(max(height, 1), max(width, 1), around.shorter_side, around.longer_side)
            for height, width in truth.sizes_hw.tolist()
        ]
    )
    width, height = (truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]).T
    side = np.minimum(width, height) * scales[matches.images]
    small = (side < finest) & matches.counted
    count, objects = int(small.sum()), numbers["objects"]
    if count < max(0.02 * objects, 1):
        return
    found = matches.found_score() >= numbers["threshold"]
    others = matches.counted & ~small
    of_others = f", of the others {found[others].mean():.2f}" if others.any() else ""
    wanted = finest / max(float(np.median(side[small])), 1e-6)
    larger = int(np.ceil(around.shorter_side * wanted / 32) * 32)
    yield _said(
        "size",
        f"{grouped(count)} of {grouped(objects)} objects are narrower than {finest} px at "
        f"data.shorter_side={around.shorter_side}, the stride of the finest level; "
        f"{found[small].mean():.2f} of them are found{of_others}. data.shorter_side={larger} "
        "would lift half of them above it",
    )


def _epochs(course: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    chart = next((chart for chart in course if chart["name"] == "AP"), None)
    curve = next((s for s in chart["series"] if s["name"] == "AP"), None) if chart else None
    if curve is None or len(curve["values"]) < 3:
        return
    values, steps = curve["values"], curve["steps"]
    third = max(len(values) // 3, 1)
    before, last, top = max(values[:-third]), values[-1], max(values)
    until, end, best_at = map(grouped, (steps[-third - 1], steps[-1], steps[values.index(top)]))
    if last >= top - 1e-9 and last - before >= max(_LITTLE, 0.02 * last):
        yield _said(
            "length",
            f"AP still climbs: {before:.3f} was the best until step {until}, and it "
            f"ends at {last:.3f} at step {end}. Train longer: schedule.max_epochs= or "
            "schedule.max_steps= of twice as much",
        )
    elif top - last >= max(_LITTLE, 0.02 * top):
        yield _said(
            "length",
            f"AP was highest, {top:.3f}, at step {best_at}, and is {last:.3f} at "
            f"the last, {end}: longer training does not help; more images or stronger "
            f"augmentation (augment=) may. {_MORE_DATA}",
        )
    else:
        yield _said(
            "length",
            f"AP has levelled out: {before:.3f} until step {until} and {last:.3f} at "
            f"step {end}. More epochs will bring little. {_MORE_DATA}",
        )


def _few_boxes(numbers: Mapping[str, Any], around: Circumstances) -> Iterator[dict[str, str]]:
    rows, boxes = numbers["classes"], around.train_boxes
    if boxes is None or len(boxes) != len(rows):
        return
    few = [(row, count) for row, count in zip(rows, boxes, strict=True) if count < FEW_BOXES]
    few.sort(key=lambda pair: pair[1])
    if not few:
        return
    shown = ", ".join(
        f"{row['name']} {count}" + (f" (AP {row['AP']:.3f})" if row["AP"] is not None else "")
        for row, count in few[:5]
    )
    more = f" and {len(few) - 5} more" if len(few) > 5 else ""
    yield _said(
        "boxes",
        f"{len(few)} of {len(rows)} classes have fewer than {FEW_BOXES} boxes to learn from: "
        f"{shown}{more}. More images of these help most",
    )


def _confused(numbers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    names = numbers["confusion"]["names"]
    matrix = np.array(numbers["confusion"]["rows"])
    between = matrix[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    if len(between) < 2 or numbers["best"] is None:
        return
    if between.max() == 0:
        yield _said("classes", "No object is taken for another class at this threshold")
        return
    # Neither one of two objects of a rare class nor a handful of thousands says much.
    totals = np.maximum(matrix[:-1].sum(axis=1, keepdims=True), 1)
    true, seen = np.unravel_index(int((between**2 / totals).argmax()), between.shape)
    count, total = int(between[true, seen]), int(totals[true, 0])
    if count < _SELDOM * total:
        yield _said(
            "classes",
            f"Classes are seldom taken for each other: {names[true]} for {names[seen]} most, "
            f"{grouped(count)} of {grouped(total)} objects of that class",
        )
    else:
        yield _said(
            "classes",
            f"{names[true]} is taken for {names[seen]} more than any class for another: "
            f"{grouped(count)} of {grouped(total)} objects of that class",
        )


def _labels(numbers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    parts = [numbers["labels"][kind] for kind in ("missed", "swapped", "misplaced")]
    if any(parts):
        missed, swapped, misplaced = map(grouped, parts)
        yield _said(
            "labels",
            f"Look at {grouped(sum(parts))} labels that detections contradict: {missed} where "
            f"nothing is annotated, {swapped} of another class, {misplaced} that lie elsewhere. "
            "fcos-doctor with ckpt= shows them on their images",
        )


def _scores(numbers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    found = numbers["calibration"]
    pairs = zip(found["detections"], found["mean_score"], found["share_right"], strict=True)
    known = [(n, score, share) for n, score, share in pairs if n]
    if not known or found["error"] < 0.1:
        return
    excess = sum(n * (score - share) for n, score, share in known)
    yield _said(
        "scores",
        f"Scores are {'too high' if excess > 0 else 'too low'} to be read as probabilities: they "
        f"differ from the share that is right by {found['error']:.2f} on average",
    )


def _waiting(course: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    chart = next((chart for chart in course if chart["name"] == "waiting for data"), None)
    if chart is None:
        return
    share = float(np.mean(chart["series"][0]["values"]))
    if share > 0.1:
        yield _said(
            "speed",
            f"Training waited for data {share:.0%} of the time: store smaller images or, where a "
            "GPU computes, raise data.num_workers=",
        )
