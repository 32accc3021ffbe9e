"""The images of the page: their boxes, the points of each setting, and what is predicted there.

Boxes are in pixels of the file. A point is told by its index: levels from the finest, rows from the
top, columns from the left, and of a cell with several anchors one after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fcos_lightning.boxes import centerness
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.explanation.fates import BEYOND, FATES, KEPT, Fates
from fcos_lightning.explanation.looking import Looked, Predicted
from fcos_lightning.explanation.mapping import Mapped
from fcos_lightning.explanation.settings import Setting
from fcos_lightning.reports.contents import rounded

#: Candidates of an image that are shown beside those that are reported.
_CANDIDATES = 150


def image_numbers(split: DataSplit, image: int) -> dict[str, Any]:
    """Return an image and its boxes, in the order of the annotations."""
    truth = split.truth
    rows = truth.rows(image)
    height, width = (int(side) for side in truth.sizes_hw[image])
    return {
        "number": image,
        "id": int(truth.image_ids[image]),
        "file": str(truth.file_names[image]),
        "width": width,
        "height": height,
        "boxes": [
            {"box": rounded(box, 1), "class": int(label), "ignored": bool(ignored)}
            for box, label, ignored in zip(
                truth.boxes_xyxy[rows], truth.labels[rows], truth.ignored[rows], strict=True
            )
        ],
    }


def setting_of_image(looked: Looked, setting: Setting) -> dict[str, Any]:
    """Return who answers for what in an image.

    Returns:
        ``size``, ``levels`` (rows, columns, and the steps between points in x and y), ``at``
        (points that answer for a box), ``box`` (which one, of each), ``target`` (in hundredths),
        ``claims`` (of ambiguous points: place in ``at``, and the boxes that claim it), ``by_box``
        (points of each box on each level) and ``unanswered``.
    """
    mapped = looked.mapped
    names = torch.from_numpy(looked.wanted)[looked.sized.rows]
    at = mapped.positive
    boxes = names[mapped.box]
    count = looked.wanted.max(initial=-1) + 1
    by_box = torch.zeros(int(count), len(setting.strides), dtype=torch.int64)
    if len(at):
        by_box.index_put_((boxes, mapped.levels()[at]), torch.tensor(1), accumulate=True)
    target = target_values(mapped, setting)
    return {
        "size": list(looked.sized.size_hw),
        "levels": _levels(mapped, setting),
        "at": at.tolist(),
        "box": boxes.tolist(),
        "target": None if target is None else (100 * target).round().int().tolist(),
        "claims": _ambiguous(mapped, names),
        "by_box": by_box.tolist(),
        "unanswered": [
            {
                "number": int(looked.wanted[one.row]),
                "reason": one.reason,
                "by": [int(looked.wanted[other]) for other in one.by],
            }
            for one in looked.unanswered
        ],
    }


def target_values(mapped: Mapped, setting: Setting) -> Tensor | None:
    """Return what each point learns beside class and box, ``[N]`` from 0 to 1; None: nothing."""
    if setting.target == "centerness":
        return centerness(mapped.ltrb_px)
    if setting.target == "weight" and mapped.weight is not None:
        return mapped.weight.clamp(0, 1)
    return None


def _levels(mapped: Mapped, setting: Setting) -> list[list[float]]:
    """Rows, columns, and the steps between columns and rows in pixels of each level."""
    rows, first = [], 0
    offset = setting.mapping.grid.offset
    for (height, width), count, stride in zip(
        mapped.points.feature_sizes, mapped.points.per_level, setting.strides, strict=True
    ):
        last = mapped.points.xy[first + count - 1].tolist() if count else [0.0, 0.0]
        steps = [
            place / (cells - 1 + offset) if cells - 1 + offset else float(stride)
            for place, cells in zip(last, (width, height), strict=True)
        ]
        rows.append([height, width, *(round(step, 4) for step in steps)])
        first += count
    return rows


def _ambiguous(mapped: Mapped, names: Tensor) -> list[list[int]]:
    """Return place and claimants of each point that several boxes claim."""
    several = mapped.claimants() > 1
    place = {point: number for number, point in enumerate(mapped.positive.tolist())}
    found: dict[int, list[int]] = {}
    chosen = several[mapped.claim_point]
    claims = (mapped.claim_point[chosen], names[mapped.claim_box[chosen]])
    for point, box in zip(*(one.tolist() for one in claims), strict=True):
        if point in place:
            found.setdefault(point, [place[point]]).append(box)
    return list(found.values())


def predicted_of_image(looked: Looked, predicted: Predicted, scale: float) -> dict[str, Any]:
    """Return what the detector says at the points that are of interest.

    Args:
        looked: the image.
        predicted: what was said.
        scale: pixels of the file for one of the resized image.

    Returns:
        ``at`` and what is said there (``class``, ``score``, ``own``: the score of the class that
        the point answers for, ``quality``, ``box``); ``candidates``: point, class, score, fate and
        the place of the candidate that suppressed it; ``found`` objects, with the score and the
        place of the candidate that found them; ``missed`` ones.
    """
    fates = predicted.fates
    wanted = looked.wanted.tolist()
    result: dict[str, Any] = {
        "at": [],
        "candidates": [],
    }
    places: dict[int, int] = {}
    if fates is not None:
        shown = _shown_candidates(fates, [one.candidate for one in predicted.missed])
        places = {row: place for place, row in enumerate(shown.tolist())}
        result["candidates"] = [
            [
                *(int(fates.point[row]), int(fates.label[row]), round(float(fates.score[row]), 4)),
                *(FATES[int(fates.fate[row])], places.get(int(fates.by[row]), -1)),
            ]
            for row in shown.tolist()
        ]
        result |= _said(looked, predicted, fates, shown, scale)
    kept = [] if fates is None else (fates.fate == KEPT).nonzero().squeeze(1).tolist()
    result["found"] = [
        [wanted[row], round(float(score), 4), places[kept[by]] if kept else -1]
        for row, (score, by) in enumerate(
            zip(predicted.found.tolist(), predicted.found_by.tolist(), strict=True)
        )
        if by >= 0
    ]
    result["missed"] = [
        {
            "number": wanted[one.row],
            "reason": one.reason,
            "by": [wanted[other] for other in one.by],
            "overlap": _digits(one.overlap),
            "point": one.point,
            "score": _digits(one.score),
            "candidate": None if one.candidate is None else places[one.candidate],
            "other": one.other,
            "other_score": _digits(one.other_score),
        }
        for one in predicted.missed
    ]
    return result


def _shown_candidates(fates: Fates, also: list[int | None]) -> Tensor:
    """Return rows of the candidates that are shown, best first: with each the one that beat it."""
    shown = (fates.fate == KEPT) | (fates.fate == BEYOND)
    shown[:_CANDIDATES] = True
    for row in also:
        if row is not None:
            shown[row] = True
    by = fates.by[shown & (fates.by >= 0)]
    shown[by] = True
    return shown.nonzero().squeeze(1)


def _said(
    looked: Looked, predicted: Predicted, fates: Fates, shown: Tensor, scale: float
) -> dict[str, Any]:
    """Return what is predicted at the points that answer for a box, and at candidates'."""
    mapped = looked.mapped
    asked = [one.point for one in predicted.missed if one.point is not None]
    every = {*mapped.positive.tolist(), *fates.point[shown].tolist(), *asked}
    at = torch.tensor(sorted(every), dtype=torch.int64)
    best, label = fates.scores[at].max(dim=1)
    own = torch.full((len(mapped.points.xy),), -1)
    own[mapped.positive] = looked.labels[mapped.box]
    of_own = fates.scores[at].gather(1, own[at].clamp(min=0)[:, None])[:, 0]
    quality = predicted.prediction.quality_logits
    return {
        "at": at.tolist(),
        "class": label.tolist(),
        "score": rounded(best.numpy(), 3),
        "own": [
            round(score, 3) if known >= 0 else None
            for score, known in zip(of_own.tolist(), own[at].tolist(), strict=True)
        ],
        "quality": None if quality is None else rounded(quality[0, at].float().sigmoid(), 3),
        "box": [rounded(box, 1) for box in (fates.boxes_xyxy[at] * scale).numpy()],
    }


def _digits(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
