"""What was found, cut out."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from fcos_lightning.inference.labels.found import Found, Place
from fcos_lightning.storage.encoding import encoded


class Crops:
    """``CLASS/NAME_NUMBER.jpg``, upright, to the whole pixels around each box; best first.

    Args:
        place: where to write.
    """

    def __init__(self, place: Place) -> None:
        self.left_out = 0
        self._folder = place.folder
        self._folders = folder_names(place.classes.names)

    def write(self, found: Found) -> None:
        """Cut the boxes of an image out."""
        if found.picture.large is not None:
            self.left_out += len(found.labels)
            return
        pixels = found.picture.pixels
        height, width = pixels.shape[:2]
        # The ending stays in the name: a.jpg and a.png are two images.
        name = PurePosixPath(found.picture.name)
        frame = "" if found.picture.frame is None else f"_{found.picture.frame:06d}"
        for number, (label, box) in enumerate(zip(found.labels, found.upright_xyxy, strict=True)):
            x1, y1 = np.maximum(np.floor(box[:2]), 0).astype(int)
            x2, y2 = np.minimum(np.ceil(box[2:]), (width, height)).astype(int)
            if x2 <= x1 or y2 <= y1:
                self.left_out += 1
                continue
            file = self._folder / self._folders[label] / name.parent
            file.mkdir(parents=True, exist_ok=True)
            crop = np.ascontiguousarray(pixels[y1:y2, x1:x2])
            # A side beyond what JPEG holds is a PNG's.
            ending = ".jpg" if max(crop.shape) <= 65500 else ".png"
            file /= f"{name.name}{frame}_{number}{ending}"
            file.write_bytes(encoded(Image.fromarray(crop), file.name, quality=95))

    def close(self) -> None:
        """Do nothing: every crop is a file of its own."""


def folder_names(names: tuple[str, ...]) -> list[str]:
    """Return a folder for each class, which every file system takes, and no two of them the same.

    A name that is none for a folder, or that another class has but for its case, is led by the
    number of its label.
    """
    folders: list[str] = []
    taken: set[str] = set()
    for label, name in enumerate(names):
        folder = re.sub(r"[^\w\-. ]+", "_", name).strip(". ")[:80].strip(". ")
        if not folder or folder != name or folder.casefold() in taken:
            folder = f"{label}_{folder}".rstrip("_")
        while folder.casefold() in taken:
            folder += "_"
        taken.add(folder.casefold())
        folders.append(folder)
    return folders
