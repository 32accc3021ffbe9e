"""Where the images are that a file of annotations names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.data.finding.survey import Survey
from fcos_lightning.data.finding.usual_names import role_of


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
    survey: Survey, names: Sequence[str], wanted: Iterable[str], usual: str, name: str
) -> ImageFolder:
    """Find the folder that holds the images of these names.

    Args:
        survey: what there is.
        names: some of those that the annotations name.
        wanted: folders below the root to look into first, capitals aside.
        usual: where they should be; taken where they are nowhere, so that messages name it.
        name: of the set. Files are called alike in many sets: what is for training is not looked
            for among images for validation.
    """
    first = [path for one in wanted if (path := survey.same_path(one)) is not None]
    rest = [folder.path for folder in survey.with_images()]
    first, rest = ([path for path in paths if suits(path, name)] for paths in (first, rest))
    named = [name.replace("\\", "/") for name in names]
    last = [name.rsplit("/", 1)[-1] for name in named]
    inside = [one for one in named if _leads_inside(one)]
    if len(inside) < len(named) == len(set(last)):
        # Of what Label Studio wrote some may lead to the folder of its server: no path counts then.
        for path in dict.fromkeys([*first, *rest]):
            if all(_is_there(survey.root / path, one) for one in last):
                return ImageFolder(path, by_last_name=True)
    # A path in the annotations says more than its last name, wherever the images are.
    for by_last_name, sought in ((False, inside), (True, last)):
        counted = {
            path: sum(_is_there(survey.root / path, one) for one in sought)
            for path in dict.fromkeys([*first, *rest])
        }
        # Where they are usually, some are enough: whoever reads them names those that are missing.
        usually = (path for path in first if counted[path])
        best = next(usually, max(counted, key=lambda path: counted[path], default=""))
        if counted.get(best):
            return ImageFolder(best, by_last_name)
    if not names and first:
        return ImageFolder(first[0])
    there = survey.same_path(usual)
    return ImageFolder(usual if there is None else there)


def suits(path: str, name: str) -> bool:
    """Tell whether no folder of a path is of another kind of set than a name."""
    role = role_of(name)
    others = {role_of(part) for part in path.split("/")} - {None, role}
    return role is None or not others


def _leads_inside(name: str) -> bool:
    return (
        bool(name) and "\0" not in name and not name.startswith("/") and ".." not in name.split("/")
    )


def _is_there(folder: Path, name: str) -> bool:
    try:
        return bool(name) and os.path.isfile(folder / name)
    except (OSError, ValueError):  # too long, or no name at all
        return False
