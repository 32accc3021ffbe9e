"""What can be told of the claims without training: counts of label mappings and of options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.assigners.anchors import AnchorAssigner
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.errors import UserError
from fcos_lightning.explanation.mapping import LabelMapping
from fcos_lightning.explanation.settings import mapping_of
from fcos_lightning.explanation.sums import SizedImage, Sums, sized_images, sums_of
from fcos_lightning.runs.article.cases import Case, hyperparameters, size_of_net

#: Points of FCOS in all images that are looked at unless it is said how many: about half a minute.
_MOST_POINTS = 6_000_000
#: The stride of the one level that FCOS has without a pyramid (paper, section 4.1.1).
_ALONE = 16
#: Overlaps that make an anchor positive, and whether each box's best one is whatever it overlaps.
_ANCHORS = ((0.5, False), (0.4, False), (0.5, True))
#: Boxes of SSD in an image of 300 pixels, as its paper has them: cells, and boxes of each.
_SSD_PAPER = ((38, 4), (19, 6), (10, 6), (5, 6), (3, 4), (1, 4))
_SSD_PX = 300


def untrained_numbers(
    data: DetectionDataModule,
    cases: Sequence[Case],
    most: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return what ``article.json`` has of the claims (a) to (d).

    Args:
        data: whose training split is looked at.
        cases: the methods; ``fcos``, ``retinanet`` and ``ssd`` have to be among them.
        most: so many images are looked at, evenly over the data; None: as many as take half a
            minute, which are 5,000 of 240 pixels and 300 of 800.
        advance: called after each mapping, ``mappings(cases)`` times.

    Raises:
        UserError: if there are no boxes.
    """
    split = data.train
    if not (~split.truth.ignored).any():
        raise UserError(f"split {split.name} has no boxes, so there is nothing to compare")
    of = {case.name: case.detector for case in cases}
    for name in ("fcos", "retinanet", "ssd"):
        if name not in of:
            raise UserError(f"sweep.cases: [method={name}] has to be among them")
    per_image = len(mapping_of(of["fcos"]).points((data.shorter_side, data.longer_side)).xy)
    chosen = split.evenly(max(_MOST_POINTS // per_image if most is None else most, 1))
    sizes = (data.shorter_side, data.longer_side)
    images = sized_images(split, chosen, *sizes, data.ignore == "points")

    known: dict[LabelMapping, Sums] = {}  # several questions are about one mapping

    def counted(mapping: LabelMapping, by_class: bool = False) -> Sums:
        if mapping not in known:
            known[mapping] = sums_of(mapping, images, by_class)
        advance()
        return known[mapping]

    ambiguous = [
        {"name": name, **_ambiguous(counted(mapping, by_class=True))}
        for name, mapping in _ambiguous_mappings(of["fcos"])
    ]
    recalls = [
        {"name": name, **_recall(counted(mapping))}
        for name, mapping in _recall_mappings(of["fcos"], of["retinanet"], of["ssd"])
    ]
    balances = []
    for case in _distinct(cases):
        mapping = mapping_of(case.detector)
        needs = mapping.assigner.needs_prediction
        balances.append({"name": case.name, **({} if needs else _balance(counted(mapping)))})
    return {
        "split": split.name,
        "images": len(split),
        "looked_at": len(images),
        "boxes": sum(one.boxes for one in images),
        "classes": len(split.truth.class_names),
        "shorter_side": data.shorter_side,
        "longer_side": data.longer_side,
        "ambiguous": ambiguous,
        "recall": recalls,
        "balance": balances,
        "ssd_boxes": {
            "pixels": _SSD_PX,
            "here": len(mapping_of(of["ssd"]).points((_SSD_PX, _SSD_PX)).xy),
            "paper": sum(cells**2 * boxes for cells, boxes in _SSD_PAPER),
        },
        "options": [
            {"name": case.name, **hyperparameters(case.detector)} for case in _distinct(cases)
        ],
        "nets": [{"name": case.name, **_net(case.detector, _usual(images))} for case in cases],
    }


def mappings(cases: Sequence[Case]) -> int:
    """Return how many mappings are counted."""
    static = [one for one in _distinct(cases) if not one.detector.assigner.needs_prediction]
    return 4 + 7 + len(static)


def _distinct(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that are methods of their own, with nothing changed of them."""
    return [case for case in cases if len(case.words) == 1]


def _usual(images: Sequence[SizedImage]) -> tuple[int, int]:
    """Return the size that most images have."""
    counts: dict[tuple[int, int], int] = {}
    for image in images:
        counts[image.size_hw] = counts.get(image.size_hw, 0) + 1
    return max(counts, key=lambda size: (counts[size], size))


def _ambiguous_mappings(fcos: DenseDetector) -> Iterator[tuple[str, LabelMapping]]:
    """Yield FCOS's mapping without and with a pyramid, all of a box or its middle."""
    base = mapping_of(fcos)
    own = _fcos_assigner(fcos)
    for radius, which in (
        (None, "every point of a box"),
        (own.center_radius or 1.5, "center sampling"),
    ):
        assigner = replace(own, center_radius=radius)
        yield f"one level, {which}", _on_one_level(base, assigner)
        yield f"pyramid, {which}", replace(base, assigner=assigner)


def _fcos_assigner(fcos: DenseDetector) -> FCOSAssigner:
    if not isinstance(fcos.assigner, FCOSAssigner):
        raise UserError(
            "model.assigner.name: leave it out; each case has the mapping of its method"
        )
    return fcos.assigner


def _on_one_level(base: LabelMapping, assigner: FCOSAssigner) -> LabelMapping:
    strides = base.grid.strides
    stride = _ALONE if _ALONE in strides else strides[len(strides) // 2]
    return replace(
        base,
        grid=replace(base.grid, strides=(stride,)),
        assigner=replace(assigner, size_ranges=((-1.0, math.inf),)),
    )


def _recall_mappings(
    fcos: DenseDetector, retinanet: DenseDetector, ssd: DenseDetector
) -> Iterator[tuple[str, LabelMapping]]:
    whole = replace(_fcos_assigner(fcos), center_radius=None)
    yield "FCOS, one level", _on_one_level(mapping_of(fcos), whole)
    yield "FCOS, pyramid", replace(mapping_of(fcos), assigner=whole)
    yield "FCOS, pyramid, center sampling", mapping_of(fcos)
    anchors = mapping_of(retinanet)
    for least, best in _ANCHORS:
        assigner = AnchorAssigner(least, min(0.4, least), keep_best=best)
        more = " or a box's best" if best else ""
        yield f"RetinaNet's anchors, IoU {least:g}{more}", replace(anchors, assigner=assigner)
    yield "SSD's boxes, IoU 0.5 or a box's best", mapping_of(ssd)


def _ambiguous(sums: Sums) -> dict[str, Any]:
    return {
        "positive": sums.positive,
        "ambiguous": sums.ambiguous,
        "share": _rounded(sums.ambiguous_share),
        "several_classes": sums.several_classes,
        "several_classes_share": _rounded(sums.several_classes_share),
    }


def _recall(sums: Sums) -> dict[str, Any]:
    return {
        "boxes": sums.boxes,
        "answered": sums.answered,
        "recall": _rounded(sums.best_recall),
    }


def _balance(sums: Sums) -> dict[str, Any]:
    return {
        "points": round(sums.points / sums.images, 1),
        "positive": round(sums.positive / sums.images, 2),
        "ignored": round(sums.ignored / sums.images, 2),
        "background": round(sums.background / sums.images, 1),
        "background_for_each": (
            round(sums.background / sums.positive, 1) if sums.positive else None
        ),
        "per_box": round(sums.positive / sums.boxes, 2) if sums.boxes else None,
    }


def _net(detector: DenseDetector, size_hw: tuple[int, int]) -> dict[str, Any]:
    parameters, gflops = size_of_net(detector, size_hw)
    return {"parameters": parameters, "gflops": round(gflops, 3), "size": list(size_hw)}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)
