"""Annotations that CVAT imports: its XML of version 1.1 (docs.cvat.ai/docs/other/xml_format)."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from fcos_lightning.inference.labels.found import Found, Place, text_of


class CvatLabels:
    """``annotations.xml``, *CVAT for images*: an ``image`` for each, with its ``box`` elements.

    CVAT turns images as their EXIF orientation says, so that boxes are those of the image as it is
    looked at. Frames of a video have the names that CVAT gives them, as ``frame_000007``. Images
    are written as they come.

    Args:
        place: where to write.
    """

    left_out = 0

    def __init__(self, place: Place) -> None:
        self._names = place.classes.names
        self._images = 0
        self._file = (place.folder / "annotations.xml").open("wb")
        meta = Element("meta")
        task = SubElement(meta, "task")
        SubElement(task, "name").text = place.source.rstrip("/").rpartition("/")[2] or place.source
        SubElement(task, "mode").text = "annotation"
        labels = SubElement(task, "labels")
        for name in self._names:
            label = SubElement(labels, "label")
            SubElement(label, "name").text = name
            SubElement(label, "type").text = "rectangle"
            SubElement(label, "attributes")
        self._file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        self._file.write(b"<version>1.1</version>\n")
        self._add(meta)

    def write(self, found: Found) -> None:
        """Add an image."""
        height, width = found.upright_hw
        picture = found.picture
        name = picture.name if picture.frame is None else f"frame_{picture.frame:06d}"
        image = Element(
            "image", id=str(self._images), name=name, width=str(width), height=str(height)
        )
        self._images += 1
        corners = ("xtl", "ytl", "xbr", "ybr")
        for label, box in zip(found.labels, found.upright_xyxy.tolist(), strict=True):
            sides = dict(zip(corners, map(text_of, box), strict=True))
            told = {"label": self._names[label], "source": "auto", "occluded": "0"}
            SubElement(image, "box", {**told, **sides, "z_order": "0"})
        self._add(image)

    def close(self) -> None:
        """Finish the file."""
        with self._file:
            self._file.write(b"</annotations>\n")

    def _add(self, element: Element) -> None:
        ElementTree.indent(element)
        self._file.write(ElementTree.tostring(element, encoding="utf-8") + b"\n")
