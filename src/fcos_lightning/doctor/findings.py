"""What a check found, and all that was found: bounded, however much is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fcos_lightning.doctor.check import Check

#: ``error``: training refuses it, or learns or measures something wrong. ``warning``: training
#: goes on, and is likely the worse for it. ``note``: worth knowing.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

#: Of a kind so many are kept; all are counted.
MOST_KEPT = 1000


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        message: what is wrong there.
        split: name of the set of images; empty: the data set as a whole.
        file: that it is in, as its layout names it; empty: none.
        place: in that file, as ``line 3``; empty: the file as a whole.
        image: position in its set of the image that shows it; None: none does.
        box: xyxy in pixels of that image; None: all of it.
        found: what a detector found there, likewise.
        score: how likely a label is right, from 0 to 1; None: it is not about that.
        like: set and position of the image that it is like.
    """

    message: str
    split: str = ""
    file: str = ""
    place: str = ""
    image: int | None = None
    box: tuple[float, float, float, float] | None = None
    found: tuple[float, float, float, float] | None = None
    score: float | None = None
    like: tuple[str, int] | None = None


@dataclass
class Kind:
    """All findings of one code.

    Attributes:
        code: stable, as ``box.duplicate``.
        severity: of each.
        title: what they are, in the plural.
        advice: what to do.
        count: of all.
        kept: the first of them, at most ``MOST_KEPT``.
        splits: how many in which set.
    """

    code: str
    severity: Severity
    title: str
    advice: str
    count: int = 0
    kept: list[Finding] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, check: Check, found: Iterable[Finding]) -> Kind:
        """Gather what a check found."""
        kind = cls(check.code, check.severity, check.title, check.advice)
        for one in found:
            kind.count += 1
            kind.splits[one.split] += 1
            if len(kind.kept) < MOST_KEPT:
                kind.kept.append(one)
        return kind


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a data set.

    Attributes:
        kinds: those that were found, errors first.
        advice: what to do about sizes, in sentences with their numbers.
    """

    kinds: Sequence[Kind]
    advice: Sequence[str] = ()

    def of(self, severity: Severity) -> list[Kind]:
        """Return the kinds of one severity."""
        return [kind for kind in self.kinds if kind.severity == severity]

    def in_words(self) -> str:
        """Return how many kinds were found: ``3 findings: 1 error, 2 warnings``."""
        if not self.kinds:
            return "no findings"
        counts = [(len(self.of(severity)), severity) for severity in SEVERITIES]
        parts = ", ".join(_counted(number, word) for number, word in counts if number)
        return f"{_counted(len(self.kinds), 'finding')}: {parts}"

    def status(self, strict: bool) -> int:
        """Return the exit status: 1 where there are errors, in ``strict`` mode also warnings."""
        return int(bool(self.of("error")) or (strict and bool(self.of("warning"))))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
