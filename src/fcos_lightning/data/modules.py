"""The data modules of COCO's layout, of VOC's layout, and of our own shapes."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import fcos_lightning
from fcos_lightning.data.finding.layout import named_categories
from fcos_lightning.data.found import AutoDataModule
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.readers.voc import read_voc
from fcos_lightning.data.shapes.drawn import default_cache, write_shapes
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.data.stores.addresses import checked_address, is_address
from fcos_lightning.errors import UserError


class CocoDataModule(AutoDataModule):
    """Images and annotations in COCO's format.

    Args:
        root: folder of the data set.
        annotations: the JSON of a split, below ``root``; ``SPLIT`` stands for its name. None: it
            is looked for, as by ``AutoDataModule``.
        images: the image folder of a split, below ``root``; needed beside ``annotations`` only.
        **options: of ``AutoDataModule``.
    """

    formats = ("coco",)

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | None = "annotations/instances_SPLIT.json",
        images: str | None = "SPLIT",
        test_split: str | None = None,
        **options: object,
    ) -> None:
        super().__init__(root, test_split=test_split, **options)  # type: ignore[arg-type]  # checked there
        self.annotations = annotations
        self.images = images or "SPLIT"

    def read_set(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a split; a category of its own that is not among given classes is an error."""
        self._check_root()
        if self.annotations is None or self.is_packed:
            return super().read_set(split, classes)
        annotation_file = self.near(self.annotations.replace("SPLIT", split))
        image_dir = self.near(self.images.replace("SPLIT", split))
        for path, kind in ((annotation_file, "file"), (image_dir, "folder")):
            if not os.path.exists(path):
                raise UserError(
                    f"no COCO data: data.root={self.place.text} is there, but of the split {split} "
                    f"the {kind} {path} is missing; say where data.annotations and data.images are "
                    "below it and how data.train_split and data.val_split are called, or let them "
                    "be found by data=auto"
                )
        return read_coco(
            annotation_file,
            image_dir,
            categories=named_categories(classes),
            strict=self.strict,
            cache=self.cache,
            leave_out_parents=self.leave_out_parents,
            headers=self.options.headers,
        )

    def set_names(self) -> Sequence[str]:
        """Return the names of all sets of images that there are."""
        self._check_root()
        if self.annotations is None or self.is_packed:
            return super().set_names()
        pattern = next((p for p in (self.annotations, self.images) if "SPLIT" in p), None)
        # Without a place for a name the file is the one set that there is.
        return _filled_in(self.folder, pattern) if pattern else [Path(self.annotations).stem]

    def _check_root(self) -> None:
        if not self.place.remote and not os.path.isdir(self.root):
            raise _missing_root(self.root, "COCO", "download_coco.py", "https://cocodataset.org")


class VocDataModule(AutoDataModule):
    """Images and annotations in PASCAL VOC's layout, or one that tools make of it.

    Args:
        root: folder with Annotations, ImageSets/Main and JPEGImages, or with XML files elsewhere;
            see ``read_voc``.
        annotations: the folder of the XML files below ``root``; ``SPLIT`` stands for the name of
            the split. None: it is looked for, as by ``AutoDataModule``.
        images: the folder of the images, likewise.
        **options: of ``AutoDataModule``.
    """

    formats = ("voc",)
    protocol = "voc"

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | None = None,
        images: str | None = None,
        test_split: str | None = None,
        **options: object,
    ) -> None:
        super().__init__(root, test_split=test_split, **options)  # type: ignore[arg-type]  # checked there
        self.annotations = annotations
        self.images = images

    def read_set(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a split; VOC has no category ids of its own, so that names alone count."""
        self._check_root()
        by_hand = self.annotations is not None or self.images is not None
        if self.is_packed or (not by_hand and split in self.layout.sets):
            return super().read_set(split, classes)
        return read_voc(
            self.folder,
            split,
            class_names=self.class_names if classes is None else classes.names,
            annotations=self.annotations,
            images=self.images,
            strict=self.strict,
            headers=self.options.headers,
        )

    def set_names(self) -> Sequence[str]:
        """Return the names of all sets of images that there are."""
        self._check_root()
        if self.is_packed:
            return super().set_names()
        pattern = next((p for p in (self.annotations, self.images) if p and "SPLIT" in p), None)
        if pattern is not None:
            return _filled_in(self.folder, pattern)
        if self.annotations is not None or self.images is not None:
            return _filled_in(self.folder, "ImageSets/Main/SPLIT.txt")
        return super().set_names()

    def _check_root(self) -> None:
        if not self.place.remote and not os.path.isdir(self.root):
            home = "http://host.robots.ox.ac.uk/pascal/VOC"
            raise _missing_root(self.root, "VOC", "download_voc.py", home)


class ShapesDataModule(CocoDataModule):
    """The embedded data set, drawn on first use and then read as any COCO data set.

    Args:
        root: folder to draw it into; None: the user's cache folder.
        train_images: number of training images.
        val_images: number of validation images.
        image_px: side of the images.
        drawing_seed: of the random scenes.
        **options: of ``DetectionDataModule``.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        train_images: int = 2000,
        val_images: int = 200,
        image_px: int = 128,
        drawing_seed: int = 0,
        **options: object,
    ) -> None:
        drawing = {
            "train": train_images,
            "val": val_images,
            "size": image_px,
            "seed": drawing_seed,
        }
        if root and is_address(str(root)):
            raise UserError(
                f"data.root={checked_address(str(root), 'data.root')}: shapes are drawn into a "
                "folder of this machine; give one, or leave it out; for what lies at the address "
                "give data=auto"
            )
        where = Path(root) if root else default_cache(**drawing)
        super().__init__(where, **options)  # type: ignore[arg-type]  # checked there
        self.draw = partial(write_shapes, self.root, **drawing)

    def prepare_data(self) -> None:
        """Draw the data set unless it is there; Lightning calls this on one process."""
        self.draw()

    def read(self, split: str, classes: Classes | None) -> DataSplit:
        """Draw the data set unless it is there, and read a split."""
        self.draw()
        return super().read(split, classes)


def _filled_in(root: Path, pattern: str) -> list[str]:
    """Return what may stand for ``SPLIT`` in a pattern of paths, which may be absolute."""
    base = "" if os.path.isabs(pattern) else f"{root}/"
    first, *others = pattern.split("SPLIT")
    sought = glob.escape(base) + "*".join(map(glob.escape, (first, *others)))
    again = "(?P=split)".join(map(re.escape, others))
    whole = re.compile(re.escape(base + first) + r"(?P<split>[^/]+)" + again)
    matched = (whole.fullmatch(path) for path in glob.glob(sought)) if others else ()
    return sorted({found.group("split") for found in matched if found})


def _missing_root(root: Path, kind: str, script: str, home: str) -> UserError:
    """Say that a folder is missing and, where a published set goes there, how to fetch that."""
    relative = "" if root.is_absolute() else f", relative to {Path.cwd()}, where this was started"
    missing = f"no {kind} data: the folder data.root={root} is missing{relative}"
    if not any(part.upper().startswith((kind, "VOC")) for part in root.parts):
        return UserError(
            f"{missing}; point data.root at yours, or try data=shapes, which needs none"
        )
    fetch = _script(script, str(root) if kind == "COCO" else "DIR") or home
    then = " and give data.root=DIR/VOCdevkit/VOC2007" if kind == "VOC" else ""
    return UserError(
        f"{missing}; fetch {kind} with {fetch}{then}, point data.root at yours, or try "
        "data=shapes, which needs no download"
    )


def _script(name: str, argument: str) -> str | None:
    """How to run one of ``scripts/``, which an installed package has not, from where we are."""
    script = Path(fcos_lightning.__file__).parents[2] / "scripts" / name
    if not script.is_file():
        return None
    here = Path.cwd()
    shown = script.relative_to(here) if script.is_relative_to(here) else script
    return f"`python {shlex.quote(str(shown))} {shlex.quote(argument)}`"
