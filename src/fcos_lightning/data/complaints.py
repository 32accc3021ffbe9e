"""What is wrong in a data set: an error at once, or kept by whoever wants to know all of it.

A reader that comes upon something it cannot use says so by ``complain``. Ordinarily that raises.
Within ``hearing`` it is written down, and the reader goes on without the thing.

Legend: ``M`` boxes as found in the files, ``N`` images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Of one kind so many are kept; all are counted.
MOST_KEPT = 1000


@dataclass(frozen=True)
class Complaint:
    """Something that a reader went on without.

    Attributes:
        code: of its kind.
        message: the error's line.
        file: that it is in.
        place: in that file; empty: the file as a whole.
    """

    code: str
    message: str
    file: str
    place: str = ""


@dataclass(frozen=True, eq=False)
class RawBoxes:
    """The boxes of a split before any is left out.

    Attributes:
        xyxy: ``[M, 4]`` float64 pixels.
        image: ``[M]`` position of each one's image.
        labels: ``[M]``.
        sizes_hw: ``[N, 2]`` pixels; zeros where nothing states them and the file cannot be read.
        faults: ``[M]`` bool for each reason to leave boxes out.
        kept: ``[K]`` rows in the order that the split has them in.
        where: says for a row in which file and where in it that box stands.
    """

    xyxy: NDArray[np.float64]
    image: NDArray[np.int64]
    labels: NDArray[np.int64]
    sizes_hw: NDArray[np.int64]
    faults: Mapping[str, NDArray[np.bool_]]
    kept: NDArray[np.int64]
    where: Callable[[int], str]


@dataclass
class Heard:
    """What was said while one split was read.

    Attributes:
        complaints: at most ``MOST_KEPT`` of a kind.
        counts: of all by their codes.
        unknown: how often numbers or names of classes were met that are none.
        boxes: of the split; None: none was made yet.
    """

    complaints: list[Complaint] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    boxes: RawBoxes | None = None

    def told(self, tell: Callable[[str], str]) -> Heard:
        """Return the same with other names of files and places."""
        complaints = [
            replace(one, message=tell(one.message), file=tell(one.file)) for one in self.complaints
        ]
        boxes = self.boxes
        if boxes is not None:
            where = boxes.where
            boxes = replace(boxes, where=lambda row: tell(where(row)))
        return replace(self, complaints=complaints, boxes=boxes)

    def add(self, complaint: Complaint) -> None:
        """Keep a complaint, or count it where there are many."""
        self.counts[complaint.code] += 1
        if self.counts[complaint.code] <= MOST_KEPT:
            self.complaints.append(complaint)


_HEARD: ContextVar[Heard | None] = ContextVar("heard", default=None)


@contextmanager
def hearing() -> Iterator[Heard]:
    """Keep what readers have to complain of, while one split is read."""
    heard = Heard()
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def complain(error: UserError, code: str, file: object, place: str = "") -> None:
    """Raise an error, or let it be heard.

    Args:
        error: what an ordinary reader raises.
        code: of its kind.
        file: that it is in.
        place: in that file.

    Raises:
        UserError: ``error``, where nobody keeps such.
    """
    heard = _HEARD.get()
    if heard is None:
        raise error
    heard.add(Complaint(code, str(error), str(file), place))


def nothing_left(error: UserError) -> UserError:
    """Return why nothing of a split can be used: the first complaint of it, or else ``error``."""
    heard = _HEARD.get()
    return UserError(heard.complaints[0].message) if heard and heard.complaints else error


def unknown_class(error: UserError, name: object, file: object, place: str) -> None:
    """Complain of a box whose class is none of the known ones, see ``complain``."""
    complain(error, "class.unknown", file, place)
    if (heard := _HEARD.get()) is not None:
        heard.unknown[str(name)] += 1


def unusable(error: UserError) -> None:
    """Raise the error of an image that whoever keeps complaints will look at himself.

    Raises:
        UserError: ``error``, where nobody does.
    """
    if _HEARD.get() is None:
        raise error


def is_heard() -> bool:
    """Tell whether somebody keeps complaints."""
    return _HEARD.get() is not None


def show_boxes(boxes: RawBoxes) -> None:
    """Hand over the boxes of a split, where somebody wants to see them."""
    if (heard := _HEARD.get()) is not None:
        heard.boxes = boxes
