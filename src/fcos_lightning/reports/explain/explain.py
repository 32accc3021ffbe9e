"""``explain.html``, with ``explain.json`` beside it: every number of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fcos_lightning
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.detections import class_keys
from fcos_lightning.explanation.answers import Answers
from fcos_lightning.explanation.looking import Onlooker
from fcos_lightning.explanation.settings import Setting
from fcos_lightning.reports.explain.images import (
    image_numbers,
    predicted_of_image,
    setting_of_image,
)
from fcos_lightning.reports.explain.summary import (
    Course,
    chosen_images,
    mapping_numbers,
    missed_numbers,
    setting_numbers,
    unanswered_rows,
)
from fcos_lightning.reports.page import json_text, page
from fcos_lightning.reports.pictures import picture_uri
from fcos_lightning.storage.replacing import write_whole

PAGE, NUMBERS = "explain.html", "explain.json"
#: Changed where a reader of ``explain.json`` would have to know.
FORMAT = 1
#: Where an assigner of somebody's own does not tell its claims.
_ALONE = "Claims are those that each box makes when it is alone; this assigner counts others."
#: Boxes that nobody answers for which the page lists; ``explain.json`` has all.
_LISTED = 200
#: Points of other settings, over all images, that a page holds at most: about 2 MB of it.
_MOST_POINTS = 120_000
#: Longest side of a picture, in pixels.
_PICTURE_PX = 800

#: Wraps what is gone through, to show how far it is.
Shown = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class Asked:
    """What shall be explained.

    Attributes:
        onlooker: looks at the images.
        settings: the chosen one, then others.
        images: positions of the images to sum over.
        files: of the images to show; empty: telling ones are chosen.
        count: how many to show.
        skip: whether files that cannot be read are passed over.
        title: names data and checkpoint, for the heading.
        remarks: sentences on what cannot be shown.
        predicted: positions of those images that the detector looks at, which takes longer than
            the mapping by far; None: all.
    """

    onlooker: Onlooker
    settings: Sequence[Setting]
    images: Sequence[int]
    files: Sequence[str]
    count: int
    skip: bool
    title: str
    remarks: Sequence[str] = ()
    predicted: Sequence[int] | None = None


def write_explanation(asked: Asked, folder: Path, shown: Shown) -> dict[str, Any]:
    """Look at the images, and write the page and its numbers into a folder.

    Returns:
        The numbers.

    Raises:
        UserError: if a file cannot be read or written, or there is nothing to explain.
    """
    numbers = explanation_numbers(asked, shown)
    pictures = [_picture(asked, image["number"]) for image in numbers["shown"]]
    write_whole(json_text(numbers), folder / NUMBERS)
    listed = {**numbers, "unanswered": numbers["unanswered"][:_LISTED]}
    text = page("explain.html", "explain.js", listed, title=asked.title, pictures=pictures)
    write_whole(text, folder / PAGE)
    return numbers


def explanation_numbers(asked: Asked, shown: Shown) -> dict[str, Any]:
    """Return what ``explain.json`` holds; see ``write_explanation``."""
    onlooker, base = asked.onlooker, asked.settings[0]
    split = onlooker.split
    course = _looked_at(asked, shown)
    boxes = np.zeros(len(split), dtype=np.int64)
    for image in asked.images:
        boxes[image] = int((~split.truth.ignored[split.truth.rows(image)]).sum())
    named = [str(name) for name in split.truth.file_names]
    if asked.files:
        sample = [_named(file, named, split.name) for file in asked.files]
    else:
        looked = np.array(asked.images, dtype=np.int64)
        some = course.of_images(looked)
        sample = [int(looked[place]) for place in chosen_images(some, boxes[looked], asked.count)]
    images: list[dict[str, Any]] = []
    tallies, left = [Answers() for _ in asked.settings], _MOST_POINTS
    for image in shown(sample, "images of the page"):
        made = _one_image(asked, image, tallies)
        if made is None:
            continue
        left -= sum(len(one["at"]) for one in made["settings"][1:])
        if left < 0:
            made["settings"] = made["settings"][:1]
        images.append(made)
    return {
        "format": FORMAT,
        "fcos_lightning": fcos_lightning.__version__,
        "split": split.name,
        "classes": class_keys(split.truth),
        "method": base.method,
        "predicted": onlooker.detector is not None,
        "remarks": [*asked.remarks, *([] if course.answers.complete else [_ALONE])],
        "mapping": mapping_numbers(course.answers, base.strides),
        "missed": missed_numbers(course, onlooker.threshold) if onlooker.detector else None,
        "unreadable": course.unreadable,
        "unanswered": unanswered_rows(course, split),
        "settings": [
            setting_numbers(setting, tally)
            for setting, tally in zip(asked.settings, tallies, strict=True)
        ],
        "shown": images,
    }


def _looked_at(asked: Asked, shown: Shown) -> Course:
    """Sum over the images."""
    onlooker, base = asked.onlooker, asked.settings[0]
    course = Course.of(len(onlooker.split))
    predicted = set(asked.images if asked.predicted is None else asked.predicted)
    for image in shown(asked.images, "images"):
        asks = onlooker.detector is not None and image in predicted
        try:
            prediction = onlooker.predict(image, base) if asks else None
        except UserError:
            if not asked.skip:
                raise
            course.unreadable.append(str(onlooker.split.truth.file_names[image]))
            continue
        looked = onlooker.look(image, base, prediction)
        course.add(looked, None if prediction is None else onlooker.judge(looked, prediction))
    return course


def _one_image(asked: Asked, image: int, tallies: list[Answers]) -> dict[str, Any] | None:
    """Return an image of the page, and add it to the sums of each setting."""
    onlooker = asked.onlooker
    try:
        prediction = onlooker.predict(image, asked.settings[0]) if onlooker.detector else None
    except UserError:
        if not asked.skip:
            raise
        return None
    made = image_numbers(onlooker.split, image)
    made["settings"] = []
    for place, (setting, tally) in enumerate(zip(asked.settings, tallies, strict=True)):
        looked = onlooker.look(image, setting, prediction)
        tally.add(image, looked.mapped, looked.labels, looked.sized.rows, len(looked.wanted))
        made["settings"].append(setting_of_image(looked, setting))
        if place == 0 and prediction is not None:
            judged = onlooker.judge(looked, prediction)
            scale = made["width"] / looked.sized.size_hw[1]
            made["said"] = predicted_of_image(looked, judged, scale)
    return made


def _named(file: str, names: list[str], split: str) -> int:
    """Return the position of an image by its file's name, whole or its end.

    Raises:
        UserError: if there is none, or several.
    """
    found = [place for place, name in enumerate(names) if name == file]
    found = found or [place for place, name in enumerate(names) if name.split("/")[-1] == file]
    if len(found) != 1:
        what = "has no such image" if not found else f"has {len(found)} images of this name"
        raise UserError(f"files={file}: split {split} {what}; give a name as {names[0]}")
    return found[0]


def _picture(asked: Asked, image: int) -> str | None:
    try:
        return picture_uri(
            asked.onlooker.split.image(image, asked.onlooker.max_pixels), _PICTURE_PX
        )
    except UserError:
        return None
