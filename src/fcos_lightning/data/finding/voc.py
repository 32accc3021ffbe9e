"""VOC's XML: with lists under ImageSets, in folders for each split, or beside the images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from fcos_lightning.data.files import Folder
from fcos_lightning.data.finding.image_folders import suits
from fcos_lightning.data.finding.layout import AnyLayout, ImageSet, Layout, Options
from fcos_lightning.data.finding.survey import SeenFolder, Survey
from fcos_lightning.data.finding.usual_names import role_of_path
from fcos_lightning.data.readers.voc import read_voc_files
from fcos_lightning.data.readers.voc_layout import VocFiles, check_text, from_folder, from_list
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.printing import some_of

#: So many XML files of a folder are looked for among images.
_SAMPLES = 8
_HEAD_BYTES = 4096
#: Folders of XML files, and what the folder of the images is called beside them.
_ANNOTATIONS = ("annotations", "annotation", "xml", "xmls", "labels", "label", "voc")
_IMAGES = ("JPEGImages", "images", "image", "imgs", "img", "photos", "jpg", "data")


@dataclass(frozen=True)
class VocSet(ImageSet):
    """Where a set of images and its XML files lie.

    Attributes:
        images: folder below the root.
        annotations: folder below the root.
        list_file: below the root; None: every XML file counts.
    """

    images: str
    annotations: str
    list_file: str | None = None


@dataclass(frozen=True)
class VocLayout(Layout[VocSet]):
    """XML files of VOC's kind."""

    format: ClassVar[str] = "voc"

    @property
    def protocol(self) -> Literal["coco", "voc"]:
        """VOC mAP too."""
        return "voc"

    def files(self, one: VocSet) -> VocFiles:
        """Return the files of a set.

        Raises:
            UserError: if there are none, or any is missing.
        """
        images = Folder(self.root / one.images)
        annotations = Folder(self.root / one.annotations, "annotation")
        if one.list_file is None:
            files = from_folder(images, annotations)
        else:
            files = from_list(self.root / one.list_file, images, annotations)
        for file_name in files.file_names:
            check_text(file_name, images.root)
        return files

    def read_set(self, one: VocSet, classes: Classes | None, options: Options) -> DataSplit:
        """Read a set; VOC has no category ids of its own, so that names alone count."""
        names = options.class_names if classes is None else classes.names
        return read_voc_files(
            self.files(one),
            one.name,
            class_names=names,
            strict=options.strict,
            headers=options.headers,
        )


def find_voc(survey: Survey) -> list[AnyLayout]:
    """Find VOC's XML: with lists, or else wherever it lies."""
    listed = [folder for folder in survey if folder.path.endswith("ImageSets/Main")]
    layouts: list[AnyLayout] = []
    for folder in listed:
        base = folder.path.removesuffix("ImageSets/Main").removesuffix("/")
        begin = f"{base}/" if base else ""
        annotations = survey.same_path(f"{begin}Annotations")
        images = survey.same_path(f"{begin}JPEGImages")
        names = _lists(folder)
        if annotations is None or images is None or not names:
            continue
        sets = tuple(
            VocSet(name, images, annotations, folder.below(f"{name}.txt")) for name in names
        )
        why = f"lists {some_of(names)} in {folder.path}, {begin}Annotations and {begin}JPEGImages"
        layouts.append(VocLayout(survey.root, "VOC's own layout", why, sets))
    return layouts or _without_lists(survey)


def _lists(folder: SeenFolder) -> list[str]:
    """Names of lists that are of a split, not of one class of a split."""
    names = [os.path.splitext(name)[0] for name in folder.ending(".txt")]
    return [
        name
        for name in names
        if not any(name.endswith(f"_{other}") for other in names if other != name)
    ]


def _without_lists(survey: Survey) -> list[AnyLayout]:
    sets: dict[str, VocSet] = {}
    beside = 0
    for folder in survey:
        if not _is_voc(survey, folder):
            continue
        images = _images_of(survey, folder)
        if images is None:
            continue
        beside += images == folder.path
        name = role_of_path(folder.path) or folder.path or "all"
        if name in sets:
            name = folder.path
        sets[name] = VocSet(name, images, folder.path)
    if not sets:
        return []
    places = some_of([one.annotations or "the folder itself" for one in sets.values()])
    if beside == len(sets):
        title = "VOC's XML beside the images, as LabelImg and Roboflow write it"
        why = f"XML files and images in {places}"
    else:
        title = "VOC's XML, without lists"
        images = some_of(sorted({one.images or "the folder itself" for one in sets.values()}))
        why = f"XML files in {places}, images in {images}"
    return [VocLayout(survey.root, title, why, tuple(sets.values()))]


def _is_voc(survey: Survey, folder: SeenFolder) -> bool:
    """Look at the beginnings of some XML files."""
    for name in folder.ending(".xml")[:_SAMPLES]:
        try:
            with (survey.root / folder.below(name)).open("rb") as opened:
                head = opened.read(_HEAD_BYTES)
        except OSError:
            continue
        # Without zeros, so that it is found in UTF-16 as well.
        if re.search(rb"<annotation[\s>/]", head.replace(b"\0", b"")):
            return True
    return False


def _images_of(survey: Survey, folder: SeenFolder) -> str | None:
    """Return the folder with the images of some XML files; None if there is none."""
    stems = [os.path.splitext(name)[0] for name in folder.ending(".xml")[:_SAMPLES]]
    for path in _places(folder.path):
        there = survey.same_path(path)
        if there is not None and survey[there].image_stems.intersection(stems):
            return there
    own = role_of_path(folder.path) or ""
    rest = (
        one
        for one in survey.with_images()
        if one.image_stems.intersection(stems) and suits(one.path, own)
    )
    return next((one.path for one in rest), None)


def _places(path: str) -> Iterable[str]:
    """Where images usually are, for a folder of XML files."""
    yield path
    parts = path.split("/") if path else []
    for place, part in enumerate(parts):
        if part.lower() in _ANNOTATIONS:
            for kind in _IMAGES:
                yield "/".join([*parts[:place], kind, *parts[place + 1 :]])
            yield "/".join([*parts[:place], *parts[place + 1 :]])
    for kind in _IMAGES:
        yield "/".join([*parts[:-1], kind])
