"""What a new run takes over from a checkpoint that it starts from.

Class logits are taken over by the names of the classes: a row learnt for cats says nothing of dogs,
whatever their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.checkpoints.fitting import fits
from fcos_lightning.detector import DenseDetector
from fcos_lightning.printing import some_of

#: Of a head: what gives class logits, in rows of ``C`` for each prediction of a cell.
_LOGITS = "head.cls_logits."


@dataclass(frozen=True)
class Started:
    """What was taken over.

    Attributes:
        fresh: keys of the detector that keep their fresh values altogether.
        classes: names of those whose logits were taken over.
        fresh_classes: names of those whose logits start fresh.
        by_name: whether the classes or their order differ, so that names decided.
    """

    fresh: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    fresh_classes: tuple[str, ...] = ()
    by_name: bool = False

    def notes(self) -> list[str]:
        """Return a line for each thing that a user has to know."""
        lines = []
        if self.fresh:
            lines.append(f"init_from left {len(self.fresh)} keys fresh: {some_of(self.fresh)}")
        if self.by_name:
            taken, left = (
                some_of(names, 20, 240) or "none" for names in (self.classes, self.fresh_classes)
            )
            lines.append(f"init_from took over classes by name: {taken}; fresh: {left}")
        return lines


def start(
    detector: DenseDetector, weights: Mapping[str, Tensor], spec: Mapping[str, Any]
) -> Started | None:
    """Give a detector the weights that fit it.

    Args:
        detector: with fresh weights.
        weights: of a checkpoint.
        spec: its arguments of ``build_fcos``.

    Returns:
        What was taken over; None: nothing fits.
    """
    own = detector.state_dict()
    theirs = _classes(spec.get("class_names"), spec.get("category_ids"), spec.get("num_classes"))
    ours = _classes(detector.class_names, detector.category_ids, detector.spec.get("num_classes"))
    logits = [key for key in own if key.startswith(_LOGITS)]
    same = theirs == ours
    fitting = {
        key: value
        for key, value in weights.items()
        if key in own and fits(own[key], value) and (same or key not in logits)
    }
    rows = {} if same else _rows(ours, theirs)
    mixed = {
        key: _mixed(own[key], weights[key], len(ours), len(theirs), rows)
        for key in logits
        if rows and key in weights
    }
    taken = {**fitting, **{key: value for key, value in mixed.items() if value is not None}}
    if not taken:
        return None
    detector.load_state_dict(taken, strict=False)
    names = [str(name) for name in detector.class_names or ()]
    copied = rows if any(key in taken for key in logits) else {}
    return Started(
        fresh=tuple(sorted(set(own) - set(taken))),
        classes=tuple(name for label, name in enumerate(names) if label in copied),
        fresh_classes=tuple(name for label, name in enumerate(names) if label not in copied),
        by_name=not same,
    )


_Class = tuple[object, object]


def _classes(names: Sequence[str] | None, ids: Sequence[int] | None, number: Any) -> list[_Class]:  # noqa: ANN401
    """Return what tells each class from the others: its name, and its id where others share it."""
    if names is None:  # nothing is known of them but that they are others than any that are named
        return [(None, label) for label in range(int(number or 0))]
    ids = ids if ids is not None and len(ids) == len(names) else range(len(names))
    shared = {name for name in names if list(names).count(name) > 1}
    return [(name, key if name in shared else None) for name, key in zip(names, ids, strict=True)]


def _rows(ours: Sequence[_Class], theirs: Sequence[_Class]) -> dict[int, int]:
    """Return for our labels where the same class stands among theirs."""
    place = {one: label for label, one in enumerate(theirs) if one[0] is not None}
    return {label: place[one] for label, one in enumerate(ours) if one in place}


def _mixed(
    own: Tensor, given: Tensor, ours: int, theirs: int, rows: Mapping[int, int]
) -> Tensor | None:
    """Return our tensor with the rows of classes that both have; None: the others do not fit."""
    if own.ndim == 0 or given.ndim != own.ndim or own.shape[1:] != given.shape[1:]:
        return None
    per_cell = own.shape[0] // ours
    if own.shape[0] != per_cell * ours or given.shape[0] != per_cell * theirs:
        return None
    mixed = own.clone().view(per_cell, ours, *own.shape[1:])
    source = given.reshape(per_cell, theirs, *own.shape[1:]).to(mixed)
    mixed[:, torch.tensor(list(rows))] = source[:, torch.tensor(list(rows.values()))]
    return mixed.view_as(own)
