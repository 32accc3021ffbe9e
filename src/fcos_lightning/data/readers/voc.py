"""PASCAL VOC annotations: one XML per image, lists of images under ImageSets/Main."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from fcos_lightning.data.complaints import complain, nothing_left, unknown_class
from fcos_lightning.data.readers.headers import Headers, headers_of_files
from fcos_lightning.data.readers.values import flag, number
from fcos_lightning.data.readers.voc_layout import VocFiles, find_files
from fcos_lightning.data.readers.voc_xml import NO_TEXT, read_xml
from fcos_lightning.data.splits import NO_BOX, DataSplit, FoundBoxes, build_split
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of


@dataclass(frozen=True)
class _Object:
    """One annotated object, in VOC's 1-based inclusive pixels as written."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


def read_voc(
    root: Path,
    split: str,
    *,
    class_names: Sequence[str] | None = None,
    annotations: str | None = None,
    images: str | None = None,
    strict: bool = False,
    headers: Headers = headers_of_files,
) -> DataSplit:
    """Read one split of a data set in PASCAL VOC's layout.

    Boxes turn from 1-based inclusive pixels to ``(xmin - 1, ymin - 1, xmax, ymax)``, except that
    those with ``xmin = xmax`` or ``ymin = ymax`` as written have no area. Difficult objects are
    ignored. Images are numbered 1 to N in the order of the split, categories 1 to C.

    A line of a list names an image with or without its ending, or by a path. Where a list has a
    second column, as VOC's lists of one class, images that it marks with -1 are left out. Without
    lists, as in exports of Roboflow and folders of LabelImg, a split is a folder, and all XML
    files in it count. An object without a box is dropped and counted.

    Args:
        root: folder with Annotations, ImageSets/Main and JPEGImages; or with one such folder in
            it (as VOCdevkit has VOC2007); or with a folder for each split, which holds images and
            XML files, or one folder for each of the two.
        split: name of a list under ImageSets/Main, without ``.txt``, or of such a folder.
        annotations: folder of the XML files below ``root``, if it is none of those; ``SPLIT``
            stands for the split's name.
        images: folder of the images, likewise.
        class_names: the classes in the order of their labels; None takes the names found in this
            split, sorted.
        strict: refuse boxes that would otherwise be dropped and counted.
        headers: reads the sizes of images that their XML does not state.

    Raises:
        UserError: for a missing, empty or broken file, an image name that leads out of its
            folder, an unknown class, or if there is no class at all; it names the file.
    """
    files = find_files(root, split, annotations, images)
    return read_voc_files(files, split, class_names=class_names, strict=strict, headers=headers)


def read_voc_files(
    files: VocFiles,
    name: str,
    *,
    class_names: Sequence[str] | None = None,
    strict: bool = False,
    headers: Headers = headers_of_files,
) -> DataSplit:
    """Read the files of a split, wherever they were found; see ``read_voc``.

    Args:
        files: of the split.
        name: of the split.
        class_names: see ``read_voc``.
        strict: see ``read_voc``.
        headers: see ``read_voc``.

    Raises:
        UserError: see ``read_voc``.
    """
    stated_hw: list[tuple[int, int] | None] = []
    objects: list[_Object] = []
    image_of_object: list[int] = []
    lacking = 0
    for image, xml_file in enumerate(files.xml_files):
        try:
            annotation = read_xml(xml_file)
        except UserError as error:
            complain(error, "annotation.unreadable", xml_file)
            annotation = Element("annotation")
        stated_hw.append(_size_hw(annotation))
        for place, element in enumerate(annotation.findall("object"), start=1):
            try:
                thing = _read_object(element, f"{xml_file}: object {place}")
            except UserError as error:
                complain(error, "annotation.unreadable", xml_file, f"object {place}")
                continue
            if thing is not None:
                objects.append(thing)
                image_of_object.append(image)
            elif strict:
                raise UserError(
                    f"{xml_file}: object {place} has no bndbox: add it, or set strict to false to "
                    "drop such objects"
                )
            else:
                lacking += 1

    unsized = [image for image, size_hw in enumerate(stated_hw) if size_hw is None]
    unsized_names = [files.file_names[image] for image in unsized]
    frames = headers(files.images.root, unsized_names, oriented=False)
    read_hw = {image: size_hw for image, (size_hw, _) in zip(unsized, frames, strict=True)}
    sizes_hw = [size_hw or read_hw[image] for image, size_hw in enumerate(stated_hw)]
    names = tuple(class_names) if class_names is not None else _names_of(objects)
    if not names:
        none = f"{files.source}: no class, as none is given and no image has an object"
        raise nothing_left(UserError(none))
    if len(set(names)) < len(names):
        raise UserError(f"class names repeat: {some_of(names)}")
    label_of = {one: label for label, one in enumerate(names)}
    for thing, image in zip(objects, image_of_object, strict=True):
        if thing.name not in label_of:
            unknown = UserError(
                f"{files.xml_files[image]}: class {shown(thing.name)} is none of the "
                f"{len(names)} known: {some_of(names)}"
            )
            unknown_class(unknown, thing.name, files.xml_files[image], shown(thing.name))
    known = [thing.name in label_of for thing in objects]
    objects = list(compress(objects, known))
    image_of_object = list(compress(image_of_object, known))

    xyxy = np.array([thing.corners for thing in objects], dtype=np.float64).reshape(-1, 4)
    # Equal corners are an annotator's click rather than an object of one pixel: they are left
    # without area, and so dropped.
    xyxy[:, :2] -= xyxy[:, :2] < xyxy[:, 2:]
    image_of_box = np.array(image_of_object, dtype=np.int64)

    def where(row: int) -> str:
        image = image_of_object[row]
        # Where this is asked for, no object was left out.
        place = row - int(np.searchsorted(image_of_box, image)) + 1
        return f"{files.xml_files[image]}: image {shown(files.file_names[image])}, object {place}"

    return build_split(
        name=name,
        image_dir=files.images.root,
        image_ids=range(1, len(files.file_names) + 1),
        file_names=files.file_names,
        sizes_hw=sizes_hw,
        boxes=FoundBoxes(
            image=image_of_box,
            xyxy=xyxy,
            labels=np.array([label_of[thing.name] for thing in objects], dtype=np.int64),
            ignored=np.array([thing.difficult for thing in objects], dtype=bool),
            areas_px=np.full(len(objects), np.nan),
        ),
        class_names=names,
        category_ids=range(1, len(names) + 1),
        where=where,
        strict=strict,
        dropped={NO_BOX: lacking} if lacking else {},
        remarks=files.remarks,
    )


def _size_hw(annotation: Element) -> tuple[int, int] | None:
    """Height and width as annotated; None where either is absent or no positive number."""
    height = number(annotation.findtext("size/height", ""))
    width = number(annotation.findtext("size/width", ""))
    if height is None or width is None or not (1 <= height < 2**31 and 1 <= width < 2**31):
        return None
    return int(height), int(width)


def _read_object(element: Element, where: str) -> _Object | None:
    """Read an object; None if it has no box, as one that is outlined only."""
    name = " ".join(element.findtext("name", "").split())
    if not name:
        raise UserError(f"{where} has no name")
    if NO_TEXT in name:
        raise UserError(f"{where} has name {shown(name)}, no text of the file's encoding")
    box = element.find("bndbox")
    if box is None or not len(box):
        return None
    corners = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = box.findtext(key)
        if text is None:
            raise UserError(f"{where} ({shown(name)}) has no bndbox/{key}")
        if (corner := number(text)) is None:
            raise UserError(f"{where} ({shown(name)}) has {key} {shown(text)}, not a number")
        corners.append(corner)
    said = element.findtext("difficult", "")
    if (difficult := flag(said)) is None:
        raise UserError(f"{where} ({shown(name)}) has difficult {shown(said)}, not 0 or 1")
    x1, y1, x2, y2 = corners
    return _Object(name, (x1, y1, x2, y2), difficult)


def _names_of(objects: Sequence[_Object]) -> tuple[str, ...]:
    return tuple(sorted({thing.name for thing in objects}))
