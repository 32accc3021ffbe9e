"""A label mapping with its sizes, and the same with one thing changed at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.losses.fcos import FCOSLoss
from fcos_lightning.errors import UserError
from fcos_lightning.explanation.mapping import LabelMapping

#: What is learnt at a point beside its class and box.
Target = Literal["centerness", "weight", "none"]
#: Of each assigner the option that says most about who gets a point, and values worth a look.
_OPTIONS: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "fcos": ("center_radius", (None, 1.0, 1.5, 2.5)),
    "atss": ("per_level", (5, 9, 15)),
    "gfl": ("per_level", (5, 9, 15)),
    "tal": ("topk", (5, 9, 13, 17)),
    "dsla": ("topk", (7, 13, 20)),
    "foveabox": ("shrink", (0.2, 0.4, 0.7)),
    "densebox": ("radius", (0.2, 0.3, 0.5)),
    "anchors": ("positive_iou", (0.4, 0.5, 0.6)),
    "ssd": ("positive_iou", (0.4, 0.5, 0.6)),
}
_SIZES = (0.5, 1.5, 2.0)


@dataclass(frozen=True)
class Setting:
    """A label mapping, at a size of images.

    Attributes:
        mapping: where the points are and how they get their boxes.
        shorter: side of images in pixels.
        longer: what their longer side may at most become.
        target: what a point learns beside its class and box.
        changed: what is not as it was chosen; empty for the choice itself.
        value: to what it was changed, for people.
        method: the name of it, for people.
    """

    mapping: LabelMapping
    shorter: int
    longer: int
    target: Target
    method: str
    changed: str = ""
    value: str = ""

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels in pixels."""
        return self.mapping.grid.strides


def mapping_of(detector: DenseDetector) -> LabelMapping:
    """Return the label mapping of a detector."""
    return LabelMapping(
        detector.grid, detector.assigner, detector.size_multiple, detector.pad_beyond
    )


def target_of(detector: DenseDetector) -> Target:
    """Return what the points of a detector learn beside class and box."""
    if detector.assigner.needs_prediction:
        return "weight"
    branch = (detector.spec.get("head") or {}).get("quality_on", "none")
    learnt = isinstance(detector.loss, FCOSLoss) and detector.loss.quality == "centerness"
    return "centerness" if learnt and branch != "none" else "none"


def one_changed(base: Setting, methods: Mapping[str, Setting]) -> Iterator[Setting]:
    """Yield the base, and then other settings, of which each differs in one thing.

    What the prediction decides stays at its levels and its size: it was made for these.

    Args:
        base: as chosen.
        methods: other methods on the same net, by their names.
    """
    yield base
    assigner = base.mapping.assigner
    option, values = _OPTIONS.get(assigner.name, ("", ()))
    if option in {one.name for one in fields(assigner)}:
        for value in values:
            if value != getattr(assigner, option):
                shown = "none" if value is None else f"{value:g}"
                yield _changed(base, option.replace("_", " "), shown, {option: value})
    if isinstance(assigner, FCOSAssigner):
        for words, ranges in _other_ranges(assigner.ranges(base.strides)):
            yield _changed(base, "size ranges", words, {"size_ranges": ranges})
    if not assigner.needs_prediction:
        yield from _other_levels(base)
        for factor in _SIZES:
            shorter, longer = (max(round(factor * side), 1) for side in (base.shorter, base.longer))
            words = f"shorter side {shorter}"
            yield replace(base, shorter=shorter, longer=longer, changed="image size", value=words)
    for name, other in methods.items():
        yield replace(other, changed="method", value=name)


def _changed(base: Setting, what: str, value: str, options: Mapping[str, Any]) -> Setting:
    assigner = replace(base.mapping.assigner, **options)
    return replace(
        base, mapping=replace(base.mapping, assigner=assigner), changed=what, value=value
    )


def _other_ranges(
    ranges: tuple[tuple[float, float], ...],
) -> Iterator[tuple[str, tuple[tuple[float, float], ...]]]:
    for words, factor in (("half as large", 0.5), ("twice as large", 2.0)):
        yield (
            words,
            tuple((low * factor if low > 0 else low, high * factor) for low, high in ranges),
        )
    yield "all sizes on each level", tuple((-1.0, math.inf) for _ in ranges)


def _other_levels(base: Setting) -> Iterator[Setting]:
    """Yield the settings without the finest and without the coarsest level."""
    grid, assigner = base.mapping.grid, base.mapping.assigner
    count = len(grid.strides)
    if count < 2:
        return
    kept = [("without the coarsest", slice(0, count - 1)), ("without the finest", slice(1, count))]
    for words, levels in kept[: 1 if grid.pooled_from is not None else 2]:
        strides = grid.strides[levels]
        fewer = assigner
        if isinstance(assigner, FCOSAssigner) and assigner.size_ranges is not None:
            # The levels that are left answer for the sizes of those that are not.
            ranges = list(assigner.size_ranges[levels])
            first, last = assigner.size_ranges[0][0], assigner.size_ranges[-1][1]
            ranges[0], ranges[-1] = (first, ranges[0][1]), (ranges[-1][0], last)
            if len(ranges) == 1:
                ranges = [(first, last)]
            fewer = replace(assigner, size_ranges=tuple(ranges))
        try:
            fewer.check(strides)
        except UserError:
            continue
        yield replace(
            base,
            mapping=replace(base.mapping, grid=replace(grid, strides=strides), assigner=fewer),
            changed="levels",
            value=words,
        )
