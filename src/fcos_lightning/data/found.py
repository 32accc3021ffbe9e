"""The data modules that look at a folder to know its layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fcos_lightning.data.datamodule import DetectionDataModule
from fcos_lightning.data.finding.find import FORMATS, find_layout
from fcos_lightning.data.finding.layout import AnyLayout, Options
from fcos_lightning.data.finding.shards import shards_at
from fcos_lightning.data.finding.splits import AUTO, Splits, find_measured, find_splits
from fcos_lightning.data.index import Classes, DataSplit
from fcos_lightning.data.stores.packed_index import INDEX
from fcos_lightning.data.stores.places import place_of
from fcos_lightning.errors import UserError


class AutoDataModule(DetectionDataModule):
    """Images and annotations in whatever layout they are, see ``docs/data.md``.

    Args:
        root: folder of the data set, or the address of one that is packed, as ``s3://...``.
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

    @property
    def layout(self) -> AnyLayout:
        """What the folder is.

        Raises:
            UserError: if it is none of the layouts, or several.
        """
        if self._layout is None:
            if self.place.remote:
                self._layout = shards_at(self.place)
            else:
                self._layout = find_layout(self.root, self.formats)
            self.protocol = self._layout.protocol
        return self._layout

    @property
    def is_packed(self) -> bool:
        """Whether the data are shards, of whatever layout was packed."""
        return self.place.remote or (self.root / INDEX).is_file()

    @property
    def found(self) -> str | None:
        """What the folder was found to be, and why; None where it was not looked at."""
        layout = self._layout
        return None if layout is None else f"{layout.title}: {layout.why}"

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
        options = Options(
            self.strict,
            self.class_names,
            self.cache,
            self.leave_out_parents,
            round(self.cache_gb * 1e9),
        )
        return self.layout.read(split, classes, options)


class YoloDataModule(AutoDataModule):
    """Text files of the YOLO family, see ``AutoDataModule``."""

    formats = ("yolo",)


class ShardsDataModule(AutoDataModule):
    """Shards as ``fcos-pack`` writes them, see ``AutoDataModule``."""

    formats = ("shards",)


class CsvDataModule(AutoDataModule):
    """Tables of boxes, see ``AutoDataModule``."""

    formats = ("csv",)
