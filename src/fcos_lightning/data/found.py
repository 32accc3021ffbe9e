"""The data modules that look at a folder to know its layout."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from fcos_lightning.data.datamodule import DetectionDataModule
from fcos_lightning.data.finding.annotation_files import annotation_files
from fcos_lightning.data.finding.find import FORMATS, find_layout
from fcos_lightning.data.finding.layout import AnyLayout, Options
from fcos_lightning.data.finding.shards import shards_at
from fcos_lightning.data.finding.survey import SeenFolder
from fcos_lightning.data.finding.usual_names import AUTO, Splits, find_measured, find_splits
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.data.stores.packed_index import INDEX
from fcos_lightning.data.stores.places import RemotePlace, place_of
from fcos_lightning.data.stores.trees.tree import Tree, tree_at
from fcos_lightning.errors import UserError


class AutoDataModule(DetectionDataModule):
    """Images and annotations in whatever layout they are, see ``docs/data.md``.

    Args:
        root: folder of the data set, or its address on object storage, as ``s3://...``.
        class_names: the classes in the order of their labels; None: those found. For COCO's format,
            which numbers them, it can only be these.
        cache: see ``read_coco``.
        leave_out_parents: see ``read_coco``.
        train_split: see ``DetectionDataModule``; found by its usual name if ``auto``.
        val_split: likewise.
        test_split: likewise.
        **options: of ``DetectionDataModule``.
    """

    #: Which formats are looked for.
    formats: ClassVar[tuple[str, ...]] = FORMATS

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        class_names: Sequence[str] | None = None,
        cache: bool = True,
        leave_out_parents: bool = False,
        train_split: str = AUTO,
        val_split: str | None = AUTO,
        test_split: str | None = AUTO,
        **options: object,
    ) -> None:
        super().__init__(
            train_split=train_split,
            val_split=val_split,
            test_split=test_split,
            **options,  # type: ignore[arg-type]  # checked there
        )
        if root is None or str(root) == "":
            raise UserError("data.root is missing: give the folder of a data set, as data.root=DIR")
        self.place = place_of(root, "data.root")
        self.root = Path(self.place.text)
        self.class_names = None if class_names is None else tuple(class_names)
        self.cache = cache
        self.leave_out_parents = leave_out_parents
        self._layout: AnyLayout | None = None
        self._tree: Tree | None = None

    @property
    def layout(self) -> AnyLayout:
        """What the folder is.

        Raises:
            UserError: if it is none of the layouts, or several.
        """
        folder = self.folder  # of an address it tells whether shards are there
        if self._layout is None:
            with self._telling():
                self._layout = find_layout(folder, self.formats)
        self.protocol = self._layout.protocol
        return self._layout

    @property
    def folder(self) -> Path:
        """The folder that readers look at: ``root``, or one with the names that are at an address.

        Raises:
            UserError: if the address cannot be listed.
        """
        if self._tree is None and self._layout is None and isinstance(self.place, RemotePlace):
            self._layout = shards_at(self.place)
            if self._layout is None:
                self._tree = tree_at(self.place, _chosen, self._cache_bytes)
        return self.root if self._tree is None else self._tree.root

    def near(self, name: str) -> Path:
        """Return a path below ``folder``, where a file of an address is brought if it is one."""
        path = self.folder / name
        if self._tree is not None:
            self._tree.mirror.bring(path)
        return path

    @property
    def is_packed(self) -> bool:
        """Whether the data are shards, of whatever layout was packed."""
        if self.place.remote:
            _ = self.folder
            return self._tree is None
        return (self.root / INDEX).is_file()

    @property
    def found(self) -> str | None:
        """What the folder was found to be, and why; None where it was not looked at."""
        layout = self._layout
        return None if layout is None else f"{layout.title}: {layout.why}"

    def told(self, text: str) -> str:
        """Return what a reader says, with the address where it names a folder of its names."""
        return text if self._tree is None else self._tree.told(text)

    def set_names(self) -> Sequence[str]:
        """Return the names of all sets of images that there are."""
        return self.layout.sets

    def find_splits(self) -> Splits:
        """Find the splits that were not given, by their usual names.

        One that is given and not there is taken as it is: whoever reads it says so.
        """
        names = self.set_names()

        def there(name: str | None) -> str | None:
            alike = [one for one in names if name and one.casefold() == name.casefold()]
            return name if name in names or len(alike) != 1 else alike[0]

        return find_splits(
            names,
            f"data.root={self.place.text}",
            there(self.train_split) or AUTO,
            there(self.val_split),
            there(self.test_split),
        )

    def find_measured(self) -> str:
        """Find the split to measure a checkpoint on, by its usual name."""
        return find_measured(self.set_names(), f"data.root={self.place.text}")

    def read(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a set of images by its name."""
        _ = self.folder
        with self._telling():
            found = self.read_set(split, classes)
        return found if self._tree is None else self._tree.over(found)

    def read_set(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a set of images of ``folder``."""
        return self.layout.read(split, classes, self.options)

    @property
    def options(self) -> Options:
        """How annotations are read."""
        options = Options(
            self.strict,
            self.class_names,
            self.cache,
            self.leave_out_parents,
            self._cache_bytes,
        )
        headers = options.headers if self._tree is None else self._tree.headers
        return replace(options, headers=partial(headers, skip=self.on_bad_image == "skip"))

    @property
    def _cache_bytes(self) -> int:
        return round(self.cache_gb * 1e9)

    def _telling(self) -> AbstractContextManager[None]:
        return nullcontext() if self._tree is None else self._tree.telling()


def _chosen(folder: str, names: Sequence[str]) -> list[str]:
    """Return which files of a folder at an address are brought here at once."""
    return annotation_files(SeenFolder(folder, tuple(names)))


class YoloDataModule(AutoDataModule):
    """Text files of the YOLO family, see ``AutoDataModule``."""

    formats = ("yolo",)


class ShardsDataModule(AutoDataModule):
    """Shards as ``fcos-pack`` writes them, see ``AutoDataModule``."""

    formats = ("shards",)


class CsvDataModule(AutoDataModule):
    """Tables of boxes, see ``AutoDataModule``."""

    formats = ("csv",)
