"""PASCAL VOC annotations: one XML per image, lists of images under ImageSets/Main."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fcos_lightning.data.files import Folder
from fcos_lightning.data.images import image_size
from fcos_lightning.data.index import DataSplit, FoundBoxes, build_split
from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
MAX_XML_BYTES = 1_000_000


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
    strict: bool = False,
) -> DataSplit:
    """Read one split of a data set in PASCAL VOC's layout.

    Boxes turn from 1-based inclusive pixels to ``(xmin - 1, ymin - 1, xmax, ymax)``, except that
    those with ``xmin = xmax`` or ``ymin = ymax`` as written have no area. Difficult objects are
    ignored. Images are numbered 1 to N in the order of the split, categories 1 to C.

    Args:
        root: folder with Annotations, ImageSets/Main and JPEGImages, or with one such folder in
            it (as VOCdevkit has VOC2007).
        split: name of a list under ImageSets/Main, without ``.txt``. Its lines may carry a second
            column, as VOC's lists per class do.
        class_names: the classes in the order of their labels; None takes the names found in this
            split, sorted.
        strict: refuse boxes that would otherwise be dropped and counted.

    Raises:
        UserError: for a missing, empty or broken file, an image name that leads out of its
            folder, an unknown class, or if there is no class at all; it names the file.
    """
    root = _layout_root(root)
    list_file = root / "ImageSets" / "Main" / f"{split}.txt"
    lines = _split_lines(list_file)
    images = Folder(root / "JPEGImages")
    annotations = Folder(root / "Annotations", "annotation")
    file_names = images.find_all(_with_endings(images, lines, IMAGE_ENDINGS), list_file)
    xml_names = annotations.find_all(_with_endings(annotations, lines, (".xml",)), list_file)
    if len(set(file_names)) < len(file_names):
        twice = next(name for name in file_names if file_names.count(name) > 1)
        raise UserError(f"{list_file} lists {twice!r} twice")
    xml_files = [annotations.root / name for name in xml_names]

    sizes_hw: list[tuple[int, int]] = []
    objects: list[_Object] = []
    image_of_object: list[int] = []
    for image, (xml_file, file_name) in enumerate(zip(xml_files, file_names, strict=True)):
        annotation = _parse(xml_file)
        sizes_hw.append(_size_hw(annotation) or image_size(images.root / file_name))
        found = [
            _read_object(element, f"{xml_file}: object {number}")
            for number, element in enumerate(annotation.findall("object"), start=1)
        ]
        objects.extend(found)
        image_of_object.extend([image] * len(found))

    names = tuple(class_names) if class_names is not None else _names_of(objects)
    if not names:
        raise UserError(f"{list_file}: no class, as none is given and no image has an object")
    if len(set(names)) < len(names):
        raise UserError(f"class names repeat: {', '.join(names)}")
    label_of = {name: label for label, name in enumerate(names)}
    for thing, image in zip(objects, image_of_object, strict=True):
        if thing.name not in label_of:
            raise UserError(
                f"{xml_files[image]}: class {thing.name!r} is none of the {len(names)} known: "
                f"{', '.join(names)}"
            )

    xyxy = np.array([thing.corners for thing in objects], dtype=np.float64).reshape(-1, 4)
    # Equal corners are an annotator's click rather than an object of one pixel: they are left
    # without area, and so dropped.
    xyxy[:, :2] -= xyxy[:, :2] < xyxy[:, 2:]
    image_of_box = np.array(image_of_object, dtype=np.int64)

    def where(row: int) -> str:
        image = image_of_object[row]
        number = row - int(np.searchsorted(image_of_box, image)) + 1
        return f"{xml_files[image]}: image {file_names[image]!r}, object {number}"

    return build_split(
        name=split,
        image_dir=images.root,
        image_ids=range(1, len(file_names) + 1),
        file_names=file_names,
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
    )


def _layout_root(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"data folder {root} does not exist or is not a folder")
    if (root / "ImageSets").is_dir():
        return root
    nested = sorted(path.parent for path in root.glob("*/ImageSets"))
    if len(nested) == 1:
        return nested[0]
    if nested:
        choices = ", ".join(path.name for path in nested)
        raise UserError(f"{root} holds several VOC data sets, name one of them: {choices}")
    raise UserError(
        f"{root} is not in VOC layout: it needs the folders Annotations, ImageSets/Main "
        "and JPEGImages"
    )


def _split_lines(list_file: Path) -> list[str]:
    if not list_file.is_file():
        splits = ", ".join(sorted(path.stem for path in list_file.parent.glob("*.txt")))
        raise UserError(
            f"split file {list_file} does not exist: "
            + (f"the splits there are {splits}" if splits else "there are no splits beside it")
        )
    try:
        lines = list_file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"split file {list_file} is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"split file {list_file} cannot be read: {error.strerror}") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"split file {list_file} is empty: it needs one image name a line")
    return names


def _with_endings(folder: Folder, lines: Sequence[str], endings: Sequence[str]) -> list[str]:
    """Add to each line's name the ending its file has in ``folder``, else the first ending."""
    by_stem = folder.by_stem(endings)
    names = []
    for line in lines:
        # The whole line first: a file name may hold a space.
        words = (unicodedata.normalize("NFC", line), unicodedata.normalize("NFC", line.split()[0]))
        known = next((by_stem[word] for word in words if word in by_stem), None)
        names.append(known if known is not None else line.split()[0] + endings[0])
    return names


def _parse(xml_file: Path) -> Element:
    try:
        with xml_file.open("rb") as stream:
            content = stream.read(MAX_XML_BYTES + 1)
    except OSError as error:
        raise UserError(f"annotation {xml_file} cannot be read: {error.strerror}") from None
    if len(content) > MAX_XML_BYTES:
        raise UserError(f"annotation {xml_file} is over {MAX_XML_BYTES} bytes: refused")
    try:
        annotation: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException:
        raise UserError(
            f"annotation {xml_file} has a DOCTYPE or entities: refused, as it may hide code"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise UserError(f"annotation {xml_file} is not valid XML: {error}") from None
    if annotation.tag != "annotation":
        raise UserError(f"{xml_file} is no VOC annotation: its root is {annotation.tag!r}")
    return annotation


def _size_hw(annotation: Element) -> tuple[int, int] | None:
    """Height and width as annotated; None where either is absent or no positive number."""
    try:
        height = float(annotation.findtext("size/height", ""))
        width = float(annotation.findtext("size/width", ""))
    except ValueError:
        return None
    if not (1 <= height < 2**31 and 1 <= width < 2**31):
        return None
    return int(height), int(width)


def _read_object(element: Element, where: str) -> _Object:
    name = element.findtext("name", "").strip()
    if not name:
        raise UserError(f"{where} has no name")
    corners = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = element.findtext(f"bndbox/{key}")
        if text is None:
            raise UserError(f"{where} ({name!r}) has no bndbox/{key}")
        try:
            corners.append(float(text))
        except ValueError:
            raise UserError(f"{where} ({name!r}) has {key} {text!r}, not a number") from None
    difficult = element.findtext("difficult", "0").strip() or "0"
    if difficult not in ("0", "1"):
        raise UserError(f"{where} ({name!r}) has difficult {difficult!r}, not 0 or 1")
    x1, y1, x2, y2 = corners
    return _Object(name, (x1, y1, x2, y2), difficult == "1")


def _names_of(objects: Sequence[_Object]) -> tuple[str, ...]:
    return tuple(sorted({thing.name for thing in objects}))
