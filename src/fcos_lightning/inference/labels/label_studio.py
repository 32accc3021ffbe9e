"""Tasks with pre-annotations, as Label Studio imports them (labelstud.io/guide/predictions)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from fcos_lightning.inference.labels.found import Found, Place

#: Names of the two tags in the labelling interface that results refer to.
_LABEL_TAG, _IMAGE_TAG = "label", "image"


class LabelStudioTasks:
    """``tasks.json``, and ``interface.xml`` with the labelling interface that it belongs to.

    Label Studio counts in per cent of the image as it is looked at. It is told of pictures by the
    address that its local storage has for them: their names below the folder that
    ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` names, which is the source's.

    Args:
        place: where to write.
    """

    left_out = 0

    def __init__(self, place: Place) -> None:
        self._names = place.classes.names
        self._model = place.model
        self._tasks = 0
        self._file = (place.folder / "tasks.json").open("w", encoding="utf-8")
        self._file.write("[")
        (place.folder / "interface.xml").write_bytes(_interface(self._names))

    def write(self, found: Found) -> None:
        """Add the task of an image; its score is the mean of its boxes'."""
        height, width = found.upright_hw
        percent = [100 / width, 100 / height]
        results: list[dict[str, Any]] = []
        for number, (label, score, (x1, y1, x2, y2)) in enumerate(
            zip(found.labels, found.scores, found.upright_xyxy.tolist(), strict=True)
        ):
            results.append(
                {
                    "id": f"{found.picture.number}-{number}",
                    "type": "rectanglelabels",
                    "from_name": _LABEL_TAG,
                    "to_name": _IMAGE_TAG,
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": {
                        "x": round(x1 * percent[0], 6),
                        "y": round(y1 * percent[1], 6),
                        "width": round((x2 - x1) * percent[0], 6),
                        "height": round((y2 - y1) * percent[1], 6),
                        "rotation": 0,
                        "rectanglelabels": [self._names[label]],
                    },
                    "score": score,
                }
            )
        scores = found.scores
        prediction = {
            "model_version": self._model,
            "score": round(sum(scores) / len(scores), 6) if scores else 0.0,
            "result": results,
        }
        address = f"/data/local-files/?d={quote(found.picture.name)}"
        task = {"data": {_IMAGE_TAG: address}, "predictions": [prediction]}
        self._file.write((",\n" if self._tasks else "\n") + json.dumps(task))
        self._tasks += 1

    def close(self) -> None:
        """Finish the list of tasks."""
        with self._file:
            self._file.write("\n]\n")


def _interface(names: tuple[str, ...]) -> bytes:
    view = Element("View")
    SubElement(view, "Image", name=_IMAGE_TAG, value=f"${_IMAGE_TAG}")
    labels = SubElement(view, "RectangleLabels", name=_LABEL_TAG, toName=_IMAGE_TAG)
    for name in names:
        SubElement(labels, "Label", value=name)
    ElementTree.indent(view)
    written: bytes = ElementTree.tostring(view, encoding="utf-8")
    return written + b"\n"
