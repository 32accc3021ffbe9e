"""A data set in PASCAL VOC's layout."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from fcos_lightning.inference.labels.found import Found, Place, text_of


class VocLabels:
    """``Annotations/NAME.xml`` and ``ImageSets/Main/all.txt``, in the frame of the stored pixels.

    VOC counts pixels from 1 and includes the last: ``xmin`` is the left side plus 1, ``xmax`` the
    right side. Parts of pixels are written, as VOC's own files of 2011 have them. What is no wider
    or higher than a pixel is left out: its corners would be equal, or change places.

    Args:
        place: where to write.
    """

    def __init__(self, place: Place) -> None:
        self.left_out = 0
        self._names = place.classes.names
        self._folder = place.folder / "Annotations"
        self._folder.mkdir()
        lists = place.folder / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        self._list = (lists / "all.txt").open("w", encoding="utf-8")

    def write(self, found: Found) -> None:
        """Write the file of an image."""
        height, width = found.stored_hw
        path = PurePosixPath(found.picture.name)
        root = Element("annotation")
        SubElement(root, "folder").text = path.parent.name or "JPEGImages"
        SubElement(root, "filename").text = path.name
        size = SubElement(root, "size")
        for name, value in (("width", width), ("height", height), ("depth", 3)):
            SubElement(size, name).text = str(value)
        SubElement(root, "segmented").text = "0"
        for label, (x1, y1, x2, y2) in zip(found.labels, found.stored_xyxy.tolist(), strict=True):
            corners = [text_of(value) for value in (x1 + 1, y1 + 1, x2, y2)]
            xmin, ymin, xmax, ymax = map(float, corners)
            if not (xmin < xmax and ymin < ymax):
                self.left_out += 1
                continue
            thing = SubElement(root, "object")
            SubElement(thing, "name").text = self._names[label]
            SubElement(thing, "pose").text = "Unspecified"
            SubElement(thing, "truncated").text = "0"
            SubElement(thing, "difficult").text = "0"
            box = SubElement(thing, "bndbox")
            for name, text in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                SubElement(box, name).text = text
        ElementTree.indent(root)
        file = self._folder / path.with_suffix(".xml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ElementTree.tostring(root, encoding="utf-8") + b"\n")
        self._list.write(f"{path.with_suffix('')}\n")

    def close(self) -> None:
        """Finish the list of images."""
        self._list.close()
