"""A score threshold for each class: ``thresholds.json``, which the report writes.

The file is JSON: ``overall`` is a number, ``per_class`` maps names of classes to numbers (null: the
overall one). Whatever else stands in it is for people.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fcos_lightning.errors import UserError, shown
from fcos_lightning.evaluation.detections import keys_of
from fcos_lightning.printing import some_of
from fcos_lightning.storage.small_files import read_small

#: More than any number of classes needs; a larger file is none of ours.
_MOST_BYTES = 16_000_000


@dataclass(frozen=True)
class Thresholds:
    """Score thresholds: a detection is kept if its score is at least its class's.

    Attributes:
        overall: for classes that have none of their own.
        per_class: class name -> its threshold; where two classes share a name,
            ``name (id 3)``.
    """

    overall: float
    per_class: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("overall", self.overall), *self.per_class.items()):
            _check(value, shown(name), "")

    @classmethod
    def read(cls, path: str | Path) -> Thresholds:
        """Read a file.

        Raises:
            UserError: if it cannot be read, or is no such file.
        """
        where = f"thresholds={path}"
        advice = "; give the thresholds.json that fcos-report writes"
        no_json = f"{where}: is no JSON{advice}"
        content = read_small(
            Path(path), _MOST_BYTES, named=f"{where}:", advice=advice, too_large=no_json
        )
        try:
            tree = json.loads(content)
        except (ValueError, RecursionError):
            raise UserError(no_json) from None
        return cls._of_tree(tree, where)

    @classmethod
    def _of_tree(cls, tree: object, where: str) -> Thresholds:
        if not isinstance(tree, dict) or "overall" not in tree:
            raise UserError(
                f'{where}: has no "overall"; give the thresholds.json that fcos-report writes'
            )
        classes = tree.get("per_class", {})
        if not isinstance(classes, dict):
            raise UserError(f"{where}: per_class is {shown(classes)}; give a number for each class")
        _check(tree["overall"], "overall", f"{where}: ")
        for name, value in classes.items():
            if value is not None:
                _check(value, shown(name), f"{where}: per_class ")
        own = {name: float(value) for name, value in classes.items() if value is not None}
        return cls(float(tree["overall"]), own)

    def of_classes(
        self, names: Sequence[str] | None, category_ids: Sequence[int] | None
    ) -> list[float]:
        """Return the threshold of each class.

        Args:
            names: one per label, as a checkpoint has them.
            category_ids: one per label.

        Raises:
            UserError: if a class is named here that is not among them.
        """
        if names is None:
            raise UserError("thresholds: the checkpoint does not name its classes")
        keys = keys_of(names, category_ids)
        unknown = [name for name in self.per_class if name not in keys]
        if unknown:
            raise UserError(
                f"thresholds: there is no class {shown(unknown[0])} in the checkpoint, which has "
                f"{some_of(list(keys))}; give the file that was "
                "made with this checkpoint"
            )
        return [self.per_class.get(key, self.overall) for key in keys]


def _check(value: Any, name: str, where: str) -> None:  # noqa: ANN401  # whatever a file holds
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= 1:
        raise UserError(f"{where or 'thresholds: '}{name} is {shown(value)}; give 0 to 1")
