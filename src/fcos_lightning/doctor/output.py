"""What was found, for the terminal and for programs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

import fcos_lightning
from fcos_lightning.doctor.check import Examined
from fcos_lightning.doctor.findings import Diagnosis, Finding
from fcos_lightning.evaluation.detections import counted_boxes
from fcos_lightning.printing import LONGEST_LINE, printable

#: Changed where a reader of ``doctor.json`` would have to know.
FORMAT = 1
_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def numbers_of(
    data: Examined, diagnosis: Diagnosis, layout: str, status: int, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``doctor.json`` holds, and the page shows.

    Args:
        data: that was looked at.
        diagnosis: what was found.
        layout: what the folder was found to be.
        status: the exit status.
        more: what else there is to tell.
    """
    return {
        "format": FORMAT,
        "fcos_lightning": fcos_lightning.__version__,
        "root": data.address or (str(data.root) if data.root else None),
        "layout": layout,
        "sets": [
            {
                "name": one.name,
                "role": one.role,
                "images": len(one.split),
                "boxes": int(counted_boxes(one.split.truth).sum()),
                "ignored": int(one.split.truth.ignored.sum()),
            }
            for one in data.sets
        ],
        "classes": [
            {"name": name, "boxes": [int(row[label]) for row in _counts(data)]}
            for label, name in enumerate(data.class_names)
        ],
        "status": status,
        "said": diagnosis.in_words(),
        "kinds": [
            {
                "code": kind.code,
                "severity": kind.severity,
                "title": kind.title,
                "advice": kind.advice,
                "count": kind.count,
                "of_sets": {name: count for name, count in kind.splits.items() if name},
            }
            for kind in diagnosis.kinds
        ],
        # Of each code at most so many as ``findings.MOST_KEPT``; ``count`` has all.
        "findings": [
            {
                "code": kind.code,
                "severity": kind.severity,
                "split": one.split or None,
                "file": below(one.file, data) or None,
                "place": one.place or None,
                "box": list(one.box) if one.box else None,
                "score": None if one.score is None else round(one.score, 4),
                "message": one.message,
            }
            for kind in diagnosis.kinds
            for one in kind.kept
        ],
        "advice": list(diagnosis.advice),
        **more,
    }


def _counts(data: Examined) -> list[Any]:
    return [counted_boxes(one.split.truth) for one in data.sets]


def below(file: str, data: Examined) -> str:
    """Return a file as it is named below the folder of the data set; others as they are."""
    if not file or data.root is None:
        return file
    bases = [f"{str(data.root).rstrip(os.sep)}{os.sep}", *_bases(data)]
    return next((file[len(base) :] for base in bases if file.startswith(base)), file)


def said_below(finding: Finding, data: Examined) -> str:
    """Return what a finding says, where its file and place stand beside it: other files likewise.

    A reader's message begins with both, as ``a.txt, line 3: ...``, which is not said twice.
    """
    said = finding.message
    if finding.file:
        place = rf"(?:{re.escape(finding.place)}[,:]? )?" if finding.place else ""
        said = re.sub(rf"^{re.escape(finding.file)}[,:] {place}", "", said)
        said = said.replace(finding.file, "it")
    for base in _bases(data):
        said = said.replace(base, "")
    return said


def _bases(data: Examined) -> list[str]:
    """Return what whole paths of files of a data set begin with."""
    if data.root is None:
        return []
    paths = [os.path.realpath(data.root), os.path.abspath(data.root)]
    bases = [path + os.sep for path in paths if path != os.sep]
    return [*bases, f"{data.address}/"] if data.address else bases


def print_diagnosis(data: Examined, diagnosis: Diagnosis, console: Console) -> None:
    """Print three lines for each kind: what and how many, the first of them, what to do."""
    code = max((len(kind.code) for kind in diagnosis.kinds), default=0)
    for kind in diagnosis.kinds:
        row = Text(f"{kind.severity:<9}", _COLOURS[kind.severity])
        row.append(f"{kind.code:<{code}} {kind.count:>6}  ", "bold")
        _print(console, row.append(printable(kind.title, LONGEST_LINE), "default"))
        _print(console, Text(f"{'':9}as {first_of(kind.kept, data)}"))
        _print(console, Text(f"{'':9}-> {printable(kind.advice, LONGEST_LINE)}"))
    for said in diagnosis.advice:
        _print(console, Text(printable(f"advice   {said}", LONGEST_LINE)))


def _print(console: Console, line: Text) -> None:
    """Print a line that the terminal breaks, if it is too long for it."""
    console.print(line, soft_wrap=True, highlight=False)


def first_of(findings: Sequence[Finding], data: Examined) -> str:
    """Return the first finding in a line: where, and what is wrong."""
    one = findings[0]
    where = ", ".join(part for part in (below(one.file, data), one.place) if part) or one.split
    named = printable(where)
    message = said_below(one, data)
    return printable(f"{named}: {message}" if named else message, 300)
