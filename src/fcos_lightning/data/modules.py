"""The data modules of COCO's layout, of VOC's layout, and of our own shapes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import fcos_lightning
from fcos_lightning.data.datamodule import DetectionDataModule
from fcos_lightning.data.index import Classes, DataSplit
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.readers.voc import read_voc
from fcos_lightning.data.shapes.drawn import default_cache, write_shapes
from fcos_lightning.errors import UserError


class CocoDataModule(DetectionDataModule):
    """Images and annotations in COCO's layout.

    Args:
        root: folder of the data set.
        annotations: the JSON of a split, below ``root``; ``SPLIT`` stands for its name.
        images: the image folder of a split, below ``root``.
        cache: see ``read_coco``.
        **options: of ``DetectionDataModule``.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str = "annotations/instances_SPLIT.json",
        images: str = "SPLIT",
        cache: bool = True,
        **options: object,
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # checked there
        self.root = Path(root)
        self.annotations = annotations
        self.images = images
        self.cache = cache

    def read(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a split; a category of its own that is not among given classes is an error."""
        categories = None
        if classes is not None:
            categories = dict(zip(classes.category_ids, classes.names, strict=True))
        annotation_file = self.root / self.annotations.replace("SPLIT", split)
        image_dir = self.root / self.images.replace("SPLIT", split)
        for path, kind in ((annotation_file, "file"), (image_dir, "folder")):
            if os.path.exists(path):
                continue
            if os.path.exists(self.root):
                raise UserError(
                    f"no COCO data: data.root={self.root} is there, but of the split {split} the "
                    f"{kind} {path} is missing; say where "
                    "data.annotations and data.images are below it, as data.annotations="
                    "SPLIT/_annotations.coco.json for an export of Roboflow, and how "
                    "data.train_split and data.val_split are called"
                )
            # Into a folder of another name nobody wants to have COCO itself.
            into = str(self.root) if "coco" in self.root.name.lower() else "DIR"
            fetch = _script("download_coco.py", into) or "https://cocodataset.org"
            raise UserError(
                f"no COCO data: the {kind} {path} is missing, as {_missing(self.root)}; point "
                f"data.root at yours, fetch COCO itself with {fetch}, or try data=shapes, which "
                "needs no download"
            )
        return read_coco(
            annotation_file,
            image_dir,
            categories=categories,
            strict=self.strict,
            cache=self.cache,
        )


class VocDataModule(DetectionDataModule):
    """Images and annotations in PASCAL VOC's layout, or one that tools make of it.

    Args:
        root: folder with Annotations, ImageSets/Main and JPEGImages, or with a folder of images
            and XML files for each split; see ``read_voc``.
        annotations: the folder of the XML files below ``root``, if it is another one; ``SPLIT``
            stands for the name of the split.
        images: the folder of the images, likewise.
        class_names: the classes in the order of their labels; None: those found in the training
            split, sorted.
        **options: of ``DetectionDataModule``.
    """

    protocol = "voc"

    def __init__(
        self,
        root: str | Path,
        *,
        annotations: str | None = None,
        images: str | None = None,
        class_names: Sequence[str] | None = None,
        **options: object,
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # checked there
        self.root = Path(root)
        self.annotations = annotations
        self.images = images
        self.class_names = None if class_names is None else tuple(class_names)

    def read(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a split; VOC has no category ids of its own, so that names alone count."""
        class_names = self.class_names if classes is None else classes.names
        if not os.path.isdir(self.root):
            fetch = _script("download_voc.py", "DIR") or "http://host.robots.ox.ac.uk/pascal/VOC"
            raise UserError(
                f"no VOC data: {_missing(self.root)}; fetch VOC with {fetch} and give "
                "data.root=DIR/VOCdevkit/VOC2007, point data.root at yours, or try data=shapes, "
                "which needs no download"
            )
        return read_voc(
            self.root,
            split,
            class_names=class_names,
            annotations=self.annotations,
            images=self.images,
            strict=self.strict,
        )


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


def _missing(root: Path) -> str:
    relative = "" if root.is_absolute() else f", relative to {Path.cwd()}, where this was started"
    return f"the folder data.root={root} is missing{relative}"


def _script(name: str, argument: str) -> str | None:
    """How to run one of ``scripts/``, which an installed package has not, from where we are."""
    script = Path(fcos_lightning.__file__).parents[2] / "scripts" / name
    if not script.is_file():
        return None
    here = Path.cwd()
    shown = script.relative_to(here) if script.is_relative_to(here) else script
    return f"`python {shlex.quote(str(shown))} {shlex.quote(argument)}`"
