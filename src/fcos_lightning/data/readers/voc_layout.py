"""Which images and XML files a split has, in VOC's layout and in what tools make of it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.data.files import Folder, OutsideFolder
from fcos_lightning.data.images import IMAGE_ENDINGS
from fcos_lightning.data.readers.values import is_text
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of

#: Where XML and images of a split may lie below the root of a data set without lists.
_WITHOUT_LISTS = (
    ("SPLIT", "SPLIT"),  # Roboflow, LabelImg
    ("SPLIT/Annotations", "SPLIT/JPEGImages"),
    ("SPLIT/annotations", "SPLIT/images"),
    ("Annotations/SPLIT", "JPEGImages/SPLIT"),
    ("annotations/SPLIT", "images/SPLIT"),
)
_FLAGS = ("1", "0", "-1")


@dataclass(frozen=True, eq=False)
class VocFiles:
    """The files of one split, and where they were listed.

    Attributes:
        source: the list, or the folder of the XML files.
        images: folder of the images.
        file_names: ``[N]``, below that.
        xml_files: ``[N]``.
        remarks: what is odd about the list.
    """

    source: Path
    images: Folder
    file_names: list[str]
    xml_files: list[Path]
    remarks: list[str]


def find_files(root: Path, split: str, annotations: str | None, images: str | None) -> VocFiles:
    """Find the files of a split, see ``read_voc``.

    Raises:
        UserError: if there are none, or the layout is another one.
    """
    if not os.path.isdir(root):
        raise UserError(f"data folder {root} does not exist or is not a folder")
    if annotations is None and images is None:
        root, annotations, images, with_list = _layout(root, split)
    else:
        annotations = annotations or "Annotations"
        images = images or ("JPEGImages" if os.path.isdir(root / "JPEGImages") else annotations)
        with_list = "SPLIT" not in annotations + images
    list_file = root / "ImageSets" / "Main" / f"{split}.txt"
    image_folder = Folder(root / images.replace("SPLIT", split))
    xml_folder = Folder(root / annotations.replace("SPLIT", split), "annotation")
    if with_list or os.path.isfile(list_file):
        found = from_list(list_file, image_folder, xml_folder)
    else:
        found = from_folder(image_folder, xml_folder)
    for name in found.file_names:
        check_text(name, found.images.root)
    return found


def check_text(name: str, folder: Path) -> None:
    """Refuse the name of a file that no text can hold.

    Raises:
        UserError: naming it.
    """
    if not is_text(name):
        raise UserError(f"{folder}: file name {shown(name)} is no valid Unicode")


def _layout(root: Path, split: str) -> tuple[Path, str, str, bool]:
    """Return root, folders of XML and images, and whether a list says what belongs to a split."""
    if os.path.isdir(root / "ImageSets"):
        return root, "Annotations", "JPEGImages", True
    nested = sorted(path.parent for path in root.glob("*/ImageSets"))
    if len(nested) == 1:
        return nested[0], "Annotations", "JPEGImages", True
    if nested:
        names = some_of([path.name for path in nested])
        raise UserError(f"{root} holds several VOC data sets, name one of them: {names}")
    for xml_folder, image_folder in _WITHOUT_LISTS:
        with_xml = any((root / xml_folder.replace("SPLIT", split)).glob("*.xml"))
        if with_xml and os.path.isdir(root / image_folder.replace("SPLIT", split)):
            return root, xml_folder, image_folder, False
    raise UserError(
        f"{root} is not in VOC layout: it needs the folders Annotations, ImageSets/Main (with the "
        f"image names in {split}.txt) and JPEGImages, or a folder {split} with images and XML "
        "files; data.annotations and data.images can name others"
    )


def from_folder(images: Folder, annotations: Folder) -> VocFiles:
    """Take all XML files of a folder, each with the image of its name.

    Raises:
        UserError: if there are none, or an image is missing.
    """
    image_of, xml_of = images.by_stem(IMAGE_ENDINGS), annotations.by_stem((".xml",))
    if not xml_of:
        raise UserError(f"annotation folder {annotations.root} has no XML file")
    stems = sorted(xml_of)
    file_names = images.find_all(
        [image_of.get(stem, stem + IMAGE_ENDINGS[0]) for stem in stems], annotations.root
    )
    remarks = []
    if alone := len(image_of.keys() - xml_of.keys()):
        remarks.append(f"{alone} images of {images.root} have no XML file; they are left out")
    return VocFiles(
        annotations.root,
        images,
        file_names,
        [annotations.root / xml_of[stem] for stem in stems],
        remarks,
    )


def from_list(list_file: Path, images: Folder, annotations: Folder) -> VocFiles:
    """Take the images that a list names, in its order.

    Raises:
        UserError: if the list is none, or a file that it names is missing.
    """
    names = _Names(images, annotations)
    found: dict[str, str] = {}
    listed = without = 0
    for line in _lines(list_file):
        image, xml, absent = names.of(line)
        if absent:
            without += 1
            continue
        listed += 1
        found.setdefault(image, xml)
    if not found:
        raise UserError(f"split file {list_file} marks every image with -1: none is left")
    remarks = []
    if without:
        remarks.append(f"{without} images are marked with -1 in {list_file}; they are left out")
    if listed > len(found):
        again = listed - len(found)
        remarks.append(f"{again} lines of {list_file} name an image again; it is taken once")
    file_names = images.find_all(found, list_file)
    xml_names = annotations.find_all(found.values(), list_file)
    return VocFiles(
        list_file, images, file_names, [annotations.root / name for name in xml_names], remarks
    )


def _lines(list_file: Path) -> list[str]:
    if not os.path.isfile(list_file):
        splits = some_of(sorted(path.stem for path in list_file.parent.glob("*.txt")))
        raise UserError(
            f"split file {list_file} does not exist: "
            + (f"the splits there are {splits}" if splits else "there are no splits beside it")
        )
    try:
        content = list_file.read_bytes()
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # as Notepad saves "Unicode"
        lines = content.decode("utf-16" if wide else "utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"split file {list_file} is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"split file {list_file} cannot be read: {error.strerror}") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"split file {list_file} is empty: it needs one image name a line")
    return names


class _Names:
    """Finds the image and the XML file that a line of a list means.

    VOC writes the name less its ending, and in lists of one class a column behind it. Tools write
    it with an ending, as a path, or as a path of the machine they ran on.

    Args:
        images: folder of the images.
        annotations: folder of the XML files.
    """

    def __init__(self, images: Folder, annotations: Folder) -> None:
        self.images = images
        self.annotations = annotations
        self._image_of = images.by_stem(IMAGE_ENDINGS)

    def of(self, line: str) -> tuple[str, str, bool]:
        """Return image and XML file, and whether the line says that the class is not in it."""
        line = unicodedata.normalize("NFC", line)
        words = line.split()
        name, absent = line, False
        if len(words) > 1 and words[-1] in _FLAGS and line not in self._image_of:
            name, absent = line[: line.rindex(words[-1])].rstrip(), words[-1] == "-1"
        # The whole name first: it may hold a space.
        for candidate in dict.fromkeys((name, words[0])):
            if found := self._found(candidate):
                return (*found, absent)
        return words[0] + IMAGE_ENDINGS[0], words[0] + ".xml", absent

    def _found(self, name: str) -> tuple[str, str] | None:
        for stem in _stems(name):
            if stem in self._image_of:
                return self._pair("", stem)
        below, slash, own = name.replace("\\", "/").rpartition("/")
        if not slash:
            return None
        # In the folder that it names; else that is one of another machine.
        for folder in (below, ""):
            with suppress(OutsideFolder):
                there = self.images.by_stem(IMAGE_ENDINGS, folder)
                for stem in _stems(own):
                    if stem in there:
                        return self._pair(folder, stem)
        return None

    def _pair(self, folder: str, stem: str) -> tuple[str, str]:
        """Return image and XML file of a stem that a folder below has."""
        begin = f"{folder}/" if folder else ""
        xml = self.annotations.by_stem((".xml",), folder).get(stem, f"{begin}{stem}.xml")
        return self.images.by_stem(IMAGE_ENDINGS, folder)[stem], xml


def _stems(name: str, endings: Sequence[str] = (*IMAGE_ENDINGS, ".xml")) -> Iterator[str]:
    """A name as it is, and less its ending if it has one."""
    yield name
    stem, ending = os.path.splitext(name)
    if ending.lower() in endings:
        yield stem
