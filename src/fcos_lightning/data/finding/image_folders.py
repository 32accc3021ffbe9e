"""Where the images are that a file of annotations names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.data.finding.survey import Survey


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images.

    Attributes:
        path: below the root.
        by_last_name: whether what annotations name is a path of the machine where they were made,
            of which the last name alone counts.
    """

    path: str
    by_last_name: bool = False


def image_folder(
    survey: Survey, names: Sequence[str], wanted: Iterable[str], usual: str
) -> ImageFolder:
    """Find the folder that holds the images of these names.

    Args:
        survey: what there is.
        names: some of those that the annotations name.
        wanted: folders below the root to look into first, capitals aside.
        usual: where they should be; taken where they are nowhere, so that messages name it.
    """
    first = [path for one in wanted if (path := survey.same_path(one)) is not None]
    order = list(dict.fromkeys([*first, *(folder.path for folder in survey.with_images())]))
    named = [name.replace("\\", "/") for name in names]
    last = [name.rsplit("/", 1)[-1] for name in named]
    # A path in the annotations says more than its last name, wherever the images are.
    for by_last_name, sought in ((False, [n for n in named if _leads_inside(n)]), (True, last)):
        best, most = None, 0
        for path in order:
            number = sum(_is_there(survey.root / path, name) for name in sought)
            if number > most:
                best, most = path, number
            if number and number == len(names):
                break
        if best is not None:
            return ImageFolder(best, by_last_name)
    if not names and first:
        return ImageFolder(first[0])
    there = survey.same_path(usual)
    return ImageFolder(usual if there is None else there)


def _leads_inside(name: str) -> bool:
    return (
        bool(name) and "\0" not in name and not name.startswith("/") and ".." not in name.split("/")
    )


def _is_there(folder: Path, name: str) -> bool:
    try:
        return bool(name) and os.path.isfile(folder / name)
    except (OSError, ValueError):  # too long, or no name at all
        return False
