"""Images that are there more than once: byte for byte, or as the eye sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fcos_lightning.data.splits.share import picture_of
from fcos_lightning.doctor.check import Check, Examined
from fcos_lightning.doctor.findings import Finding

if TYPE_CHECKING:
    from fcos_lightning.doctor.copies import Place


class DuplicateImage(Check):
    """A file that is another one's copy, in the same set."""

    code = "image.duplicate"
    severity = "warning"
    title = "images that another one of their set is, byte for byte"
    advice = "keep one of each; see that their boxes are the same"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield all but the first of each group."""
        for group in data.same_files:
            for first, other in _within(group):
                yield _copy(first, other, "is the same file as")


class SharedImage(Check):
    """A file that is learnt from and measured on."""

    code = "split.shared"
    severity = "error"
    title = "images of which another set has a copy, byte for byte"
    advice = (
        "remove them from one of the two: figures are too good where images that were learnt from "
        "are measured on"
    )

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield the images of each later set that an earlier one has."""
        for group in data.same_files:
            for first, other in _across(group):
                yield _copy(first, other, f"{first[0].name} has it as")


class NearDuplicateImage(Check):
    """A picture that is there twice, resized or compressed anew."""

    code = "image.near_duplicate"
    severity = "note"
    title = "images that look like another one of their set"
    advice = "see whether both are wanted, as pictures of one video are much alike"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield all but the first of each group; copies that Roboflow made are meant."""
        for group in data.alike_pictures:
            for first, other in _within(group):
                names = [place[0].split.truth.file_names[place[1]] for place in (first, other)]
                if picture_of(str(names[0])) != picture_of(str(names[1])):
                    yield _copy(first, other, "looks like")


class NearSharedImage(Check):
    """A picture that is learnt from and measured on in another form."""

    code = "split.near"
    severity = "warning"
    title = "images that look like one of another set"
    advice = "look at them: figures are too good where what was learnt from is measured on"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield the images of each later set that an earlier one has."""
        for group in data.alike_pictures:
            for first, other in _across(group):
                yield _copy(first, other, f"looks like one of {first[0].name},")


def _copy(first: Place, other: Place, says: str) -> Finding:
    said = other[0].at_image(other[1], f"{says} {first[0].file(first[1])}")
    return replace(said, like=(first[0].name, first[1]))


def _within(group: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    first_of: dict[int, Place] = {}
    for place in group:
        first = first_of.setdefault(id(place[0]), place)
        if first is not place:
            yield first, place


def _across(group: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    for place in group:
        if place[0] is not group[0][0]:
            yield group[0], place
