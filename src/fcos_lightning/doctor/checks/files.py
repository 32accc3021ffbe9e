"""Files that belong to nothing: images without annotation, annotations without image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fcos_lightning.data.finding.survey import Survey
from fcos_lightning.doctor.check import Check, Examined
from fcos_lightning.doctor.findings import Finding


class UnusedImage(Check):
    """An image that lies beside others of the data set, and that no set has."""

    code = "image.unused"
    severity = "warning"
    title = "images beside those of the data set that no set has"
    advice = "annotate them, list them, or take them away: nothing is learnt from them"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each in the folders that hold images of the data set."""
        packed = any(one.split.images.is_packed for one in data.sets)
        if packed or data.root is None or not data.root.is_dir():
            return
        used: set[str] = set()
        for one in data.sets:
            base = os.path.realpath(one.split.image_dir)
            used |= {os.path.join(base, str(name)) for name in one.split.truth.file_names}
        folders = {os.path.dirname(path) for path in used}
        for folder in Survey(data.root).with_images():
            real = os.path.realpath(data.root / folder.path)
            if real in folders:
                for name in folder.images:
                    if os.path.join(real, name) not in used:
                        path = str(data.root / folder.below(name))
                        yield Finding("is in no set that is used", "", path)


class AnnotationAlone(Check):
    """An annotation file without an image of its name."""

    code = "annotation.no_file"
    severity = "warning"
    title = "annotation files without an image"
    advice = "bring the images back, or remove the files"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for file in data.alone:
            yield Finding("has no image of its name", "", str(Path(file)))
