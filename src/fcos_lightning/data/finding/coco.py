"""COCO's format: official, of Roboflow, CVAT, Label Studio, FiftyOne, or any JSON beside images."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from fcos_lightning.data.finding.image_folders import image_folder
from fcos_lightning.data.finding.layout import (
    AnyLayout,
    Layout,
    ListedSet,
    Options,
    named_categories,
)
from fcos_lightning.data.finding.survey import SeenFolder, Survey
from fcos_lightning.data.finding.usual_names import role_of
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of

#: A folder with more JSON files than this holds one for each image, as LabelMe writes them.
_MOST_FILES = 64
#: How many of the listed images are looked for.
_SAMPLES = 8
_FILE_NAME = re.compile(rb'"file_name"\s{0,9}:\s{0,9}("(?:[^"\\]|\\.){0,1000}")')
_ROBOFLOW = "_annotations.coco.json"
_INSTANCES = "instances_"
#: Other tasks of COCO, on the same images.
_OTHER_TASKS = ("captions_", "person_keypoints_", "panoptic_", "stuff_", "image_info_")


@dataclass(frozen=True)
class CocoLayout(Layout[ListedSet]):
    """Annotations in COCO's format."""

    format: ClassVar[str] = "coco"

    def read_set(self, one: ListedSet, classes: Classes | None, options: Options) -> DataSplit:
        """Read a set; its categories are those of the file, whatever names the user gives."""
        file = self.root / one.file
        split = read_coco(
            file,
            self.root / one.images.path,
            categories=named_categories(classes),
            strict=options.strict,
            cache=options.cache,
            leave_out_parents=options.leave_out_parents,
            by_last_name=one.images.by_last_name,
            headers=options.headers,
        )
        given = options.class_names
        if classes is None and given is not None and given != split.truth.class_names:
            raise UserError(
                f"data.class_names={list(given)}: {file} has the classes "
                f"{list(split.truth.class_names)}; leave the option out"
            )
        return replace(split, name=one.name)


def find_coco(survey: Survey) -> list[AnyLayout]:
    """Find annotations in COCO's format: at most one layout, of all sets that there are."""
    files = [(folder, name) for folder in survey for name in candidates(folder)]
    listed: dict[tuple[SeenFolder, str], list[str]] = {}
    for folder, name in files:
        names = _listed_images(survey.root / folder.below(name))
        # By its name it should be one, whatever is in it: the reader says what is wrong.
        if names is not None or name == _ROBOFLOW or name.lower().startswith(_INSTANCES):
            listed[folder, name] = names or []
    if not listed:
        return []
    exports = {key: names for key, names in listed.items() if key[1] == _ROBOFLOW}
    if exports:
        sets = [_roboflow_set(survey, folder, names) for (folder, _), names in exports.items()]
        title, said = "COCO, Roboflow's export", f"{_ROBOFLOW} in {_places(sets)}"
        layouts: list[AnyLayout] = [CocoLayout(survey.root, title, said, tuple(sets))]
    else:
        layouts = []
    others = {key: names for key, names in listed.items() if key[1] != _ROBOFLOW}
    if others:
        sets = _named_apart(survey, others)
        title, said = (
            _title(sets),
            f"{some_of([one.file for one in sets])} with images in {_image_places(sets)}",
        )
        layouts.append(CocoLayout(survey.root, title, said, tuple(sets)))
    return layouts


def candidates(folder: SeenFolder) -> list[str]:
    """Names of JSON files that may hold boxes."""
    names = folder.ending(".json")
    if len(names) > _MOST_FILES:
        return [name for name in names if name == _ROBOFLOW]
    instances = [name for name in names if name.lower().startswith(_INSTANCES)]
    return instances or [name for name in names if not name.lower().startswith(_OTHER_TASKS)]


def _listed_images(file: Path) -> list[str] | None:
    """Return the first images that a file of COCO's format lists; None if it is no such file.

    It is searched, not parsed, as it may hold gigabytes.
    """
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if content[:1] in (b"\xff", b"\xfe") or b"\0" in content[:4]:
                return _listed_in_wide_text(file)
            if content.find(b'"images"') < 0 or content.find(b'"categories"') < 0:
                return None
            return [_text(found.group(1)) for found in _first(content, _SAMPLES)]
    except (OSError, ValueError):
        return None


def _listed_in_wide_text(file: Path) -> list[str] | None:
    """The same of UTF-16 and UTF-32, which few tools write."""
    if file.stat().st_size > 100_000_000:
        return None
    content = file.read_bytes()
    text = content.decode(json.detect_encoding(content), "replace").encode("utf-8", "replace")
    if b'"images"' not in text or b'"categories"' not in text:
        return None
    return [_text(found.group(1)) for found in _first(text, _SAMPLES)]


def _first(content: mmap.mmap | bytes, most: int) -> Iterator[re.Match[bytes]]:
    for number, found in enumerate(_FILE_NAME.finditer(content)):
        if number >= most:
            return
        yield found


def _text(quoted: bytes) -> str:
    try:
        return str(json.loads(quoted.decode("utf-8", "replace"), strict=False))
    except ValueError:
        return ""


def _roboflow_set(survey: Survey, folder: SeenFolder, names: Sequence[str]) -> ListedSet:
    at = image_folder(survey, names, [folder.path], folder.path, folder.path)
    return ListedSet(folder.path or "all", folder.below(_ROBOFLOW), at)


def _named_apart(
    survey: Survey, listed: dict[tuple[SeenFolder, str], list[str]]
) -> list[ListedSet]:
    """Name sets by their files, or where that does not tell them apart by their folders."""
    sets = []
    stems = {key: _set_name(key[1]) for key in listed}
    for (folder, file), names in listed.items():
        stem = stems[folder, file]
        own = folder.path.rsplit("/", 1)[-1]
        same = sum(one == stem for one in stems.values()) > 1
        # As train/labels.json, or data/train/annotations/instances.json.
        telling = next((part for part in folder.path.split("/") if role_of(part)), None)
        name = telling if telling and (same or role_of(stem) is None) else stem
        if same and not telling:
            name = folder.below(stem)
        parent = folder.path.rpartition("/")[0]
        wanted = [folder.path] if folder.images else []
        for start in dict.fromkeys(("", parent, folder.path)):
            begin = f"{start}/" if start else ""
            for kind in (
                stem,
                name,
                own,
                f"images/{stem}",
                f"images/{name}",
                "images",
                "JPEGImages",
                "data",
                "imgs",
            ):
                wanted.append(f"{begin}{kind}")
            wanted.append(start)
        sets.append(
            ListedSet(name, folder.below(file), image_folder(survey, names, wanted, name, name))
        )
    return sets


def _set_name(file: str) -> str:
    stem = file[: -len(".json")]
    return stem[len(_INSTANCES) :] if stem.lower().startswith(_INSTANCES) else stem


def _title(sets: Sequence[ListedSet]) -> str:
    files = [one.file.rsplit("/", 1)[-1] for one in sets]
    if files == ["result.json"]:
        return "COCO, Label Studio's export"
    if files == ["instances_default.json"]:
        return "COCO, CVAT's export"
    if files == ["labels.json"]:
        return "COCO, FiftyOne's export"
    official = all(file.startswith(_INSTANCES) for file in files)
    return "COCO's own layout" if official else "COCO's format"


def _places(sets: Sequence[ListedSet]) -> str:
    return some_of([one.file.rpartition("/")[0] or "the folder itself" for one in sets])


def _image_places(sets: Sequence[ListedSet]) -> str:
    return some_of(list(dict.fromkeys(one.images.path or "the folder itself" for one in sets)))
