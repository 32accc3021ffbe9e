"""``doctor.html``: what was found, in pictures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fcos_lightning.doctor.check import Examined
from fcos_lightning.doctor.crops import SHOWN, shots_of
from fcos_lightning.doctor.findings import Diagnosis
from fcos_lightning.doctor.output import below, said_below
from fcos_lightning.reports.page import page

#: Of each kind so many are listed; ``doctor.json`` has more.
_LISTED = 50


def most_shots(diagnosis: Diagnosis) -> int:
    """Return how many pictures the page will read, at most, for a progress bar."""
    return sum(min(SHOWN, len(kind.kept)) for kind in diagnosis.kinds)


def doctor_page(
    data: Examined,
    diagnosis: Diagnosis,
    numbers: Mapping[str, Any],
    advance: Callable[[], None] = lambda: None,
) -> str:
    """Return the page.

    Args:
        data: that was examined.
        diagnosis: what was found.
        numbers: what ``doctor.json`` holds.
        advance: called after each picture.
    """
    kinds = [
        {
            "code": kind.code,
            "severity": kind.severity,
            "title": kind.title,
            "advice": kind.advice,
            "count": kind.count,
            "of_sets": {name: count for name, count in kind.splits.items() if name},
            "rows": [
                {
                    "file": below(one.file, data),
                    "place": one.place,
                    "split": one.split,
                    "message": said_below(one, data),
                }
                for one in kind.kept[:_LISTED]
            ],
            "shots": [
                {
                    "file": below(shot["finding"].file, data),
                    "message": said_below(shot["finding"], data),
                    "panels": shot["panels"],
                }
                for shot in shots_of(data, kind, advance)
            ],
        }
        for kind in diagnosis.kinds
    ]
    # The script needs none of the numbers, and a page of all findings would be a large one.
    shown = {key: value for key, value in numbers.items() if key != "findings"}
    return page("doctor.html", "doctor.js", shown, kinds=kinds, listed=_LISTED)
