"""What a path in a data.yaml means, which is seldom where the data set lies now."""

from __future__ import annotations

import os
from pathlib import Path

from fcos_lightning.data.finding.survey import SeenFolder, Survey
from fcos_lightning.data.images import IMAGE_ENDINGS
from fcos_lightning.data.readers.yolo import read_lines


def images_at(survey: Survey, yaml_file: str, base: str, path: str) -> list[str]:
    """Return the images that a path of a data.yaml means, below the root.

    It may be relative to the file, to what the file gives as ``path``, to the folder above, one
    ``../`` off, as Roboflow writes it, or of another machine: of the candidates the first counts
    that is there.
    """
    here = yaml_file.rpartition("/")[0]
    own = Path(os.path.abspath(survey.root)).name
    stripped = path.replace("\\", "/")
    tail = [part for part in stripped.split("/") if part not in ("", ".", "..")]
    candidates = [f"{here}/{base}/{stripped}", f"{here}/{stripped}", f"{base}/{stripped}", stripped]
    candidates += ["/".join([here, *tail[start:]]) for start in range(len(tail))]
    candidates += ["/".join(tail[start:]) for start in range(len(tail))]
    if tail[:1] == [own]:
        candidates.append("/".join(tail[1:]))
    for candidate in candidates:
        normal = os.path.normpath(candidate.strip("/") or ".").replace(os.sep, "/")
        if normal.startswith(".."):
            continue
        normal = "" if normal == "." else normal
        folder = survey.same_path(normal)
        if folder is not None and (images := _images_below(survey, folder)):
            return images
        parent, _, name = normal.rpartition("/")
        listing = survey.same_path(parent)
        if name.lower().endswith(".txt") and listing is not None and name in survey[listing].files:
            return _listed_images(survey, survey[listing], name)
    return []


def _images_below(survey: Survey, path: str) -> list[str]:
    return [one.below(name) for one in survey.inside(path) for name in one.images]


def _listed_images(survey: Survey, folder: SeenFolder, name: str) -> list[str]:
    """Return the images that a list names, by paths of which the ends count."""
    by_end: dict[str, str] = {}
    for one in survey.with_images():
        for image in one.images:
            parts = one.below(image).split("/")
            for start in range(len(parts)):
                by_end.setdefault("/".join(parts[start:]), one.below(image))
    found = []
    for line in read_lines(survey.root / folder.below(name)):
        parts = [
            part
            for part in line.strip().replace("\\", "/").split("/")
            if part not in ("", ".", "..")
        ]
        if not parts or os.path.splitext(parts[-1])[1].lower() not in IMAGE_ENDINGS:
            continue
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        if (named := next((by_end[end] for end in ends if end in by_end), None)) is not None:
            found.append(named)
    return found
