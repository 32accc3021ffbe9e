"""Image files: whether they are there, can be read, and are what the annotations say."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from fcos_lightning.data.images import belongs_to
from fcos_lightning.doctor.check import Check, Examined
from fcos_lightning.doctor.findings import MOST_KEPT, Finding, More


class MissingImage(Check):
    """An annotated image that is not there."""

    code = "image.missing"
    severity = "error"
    title = "annotated images that are not there"
    advice = "bring the files back, or remove their annotations"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            for image in one.facts.missing if one.facts else ():
                yield one.at_image(image, "is annotated, and not there")


class EmptyFile(Check):
    """A file of no byte, as a download that broke off leaves it."""

    code = "image.empty"
    severity = "error"
    title = "image files without a byte"
    advice = "fetch them again, or remove them; data.on_bad_image=skip passes them over"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            for image in one.facts.empty if one.facts else ():
                yield one.at_image(image, "is empty: 0 bytes")


class UnreadableImage(Check):
    """A file that is truncated, damaged, or no image."""

    code = "image.unreadable"
    severity = "error"
    title = "images that cannot be read, as truncated ones"
    advice = "fetch them again, or remove them; data.on_bad_image=skip passes them over"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            for image, said in one.facts.bad.items() if one.facts else ():
                file = one.file(image)
                yield one.at_image(image, said.replace(f"image {file}", "it").replace(file, "it"))


class TooLarge(Check):
    """An image that training refuses before it is decoded."""

    code = "image.too_large"
    severity = "error"
    title = "images of more than data.max_pixels"
    advice = "make them smaller, or raise data.max_pixels"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            for image, (height, width) in one.facts.too_large.items() if one.facts else ():
                said = f"has {width} x {height} pixels, more than {data.max_pixels}"
                yield one.at_image(image, said)


class OtherSize(Check):
    """An image whose size is not the annotated one, so that its boxes lie elsewhere."""

    code = "image.size"
    severity = "error"
    title = "images of another size than annotated"
    advice = (
        "their boxes lie in the wrong place: annotate the images that are there, or bring back "
        "those that were annotated; where width and height are exchanged, store the image turned"
    )

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            if one.facts is None:
                continue
            stored, annotated = one.facts.sizes_hw, one.split.truth.sizes_hw
            known = (stored > 0).all(axis=1) & (annotated > 0).all(axis=1)
            for image in np.flatnonzero(known & (stored != annotated).any(axis=1)).tolist():
                (height, width), (h, w) = stored[image].tolist(), annotated[image].tolist()
                turned = "; EXIF turns it" if one.facts.orientation[image] >= 5 else ""
                yield one.at_image(
                    image, f"is {width} x {height} pixels, annotated as {w} x {h}{turned}"
                )


class WrongEnding(Check):
    """A file that is another kind of image than its name says."""

    code = "image.ending"
    severity = "warning"
    title = "images whose names end in what they are not"
    advice = "rename them: this program reads them, others may not"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            for image, kind in enumerate(one.facts.formats if one.facts else ()):
                ending = os.path.splitext(one.file(image))[1].lower()
                if kind and not belongs_to(ending, kind):
                    yield one.at_image(image, f"ends in {ending or 'nothing'}, and is {kind}")


class TurnedImage(Check):
    """An image that EXIF shows otherwise than it is stored."""

    code = "image.turned"
    severity = "warning"
    title = "images that their EXIF orientation turns"
    advice = (
        "training takes pixels as they are stored (YOLO's boxes are turned with them): look at the "
        "crops on the page; where boxes lie beside their objects, store the images upright"
    )

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            if one.facts is not None:
                for image in np.flatnonzero(one.facts.orientation != 1).tolist():
                    said = f"has EXIF orientation {one.facts.orientation[image]}"
                    yield one.at_image(image, said)


class BlankImage(Check):
    """An image of one colour."""

    code = "image.blank"
    severity = "warning"
    title = "images of one colour"
    advice = "remove them, unless a picture of nothing is meant"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            if one.facts is not None:
                for image in np.flatnonzero(one.facts.blank).tolist():
                    yield one.at_image(image, "is of one colour")


class NoObjects(Check):
    """An image without a box: background, or forgotten."""

    code = "image.no_objects"
    severity = "note"
    title = "images without a box"
    advice = "they are learnt as background; see that their objects were not forgotten"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding | More]:
        """Yield each."""
        for one in data.sets:
            if one.split.annotated:
                # Of an image that cannot be read no box is known.
                sized = (one.split.truth.sizes_hw > 0).all(axis=1)
                images = np.flatnonzero((np.diff(one.split.truth.first_box) == 0) & sized)
                for image in images[:MOST_KEPT].tolist():
                    yield one.at_image(image, "has no box")
                if len(images) > MOST_KEPT:
                    yield More(len(images) - MOST_KEPT, one.name)
