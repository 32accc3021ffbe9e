"""The sets of images of a data module: named, found by their usual names, or split off another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fcos_lightning.data.finding.usual_names import AUTO, Splits
from fcos_lightning.data.splits.data_split import Classes, DataSplit
from fcos_lightning.data.splits.share import given_share, part_of, read_split, share_of, write_split
from fcos_lightning.errors import UserError

Measured = Literal["val", "test"]


class SplitReader(ABC):
    """Reads splits when they are asked for, each once, and checks them; a part of a data module.

    Args:
        train_split: see ``DetectionDataModule``.
        val_split: see ``DetectionDataModule``.
        test_split: see ``DetectionDataModule``.
        val_share: see ``DetectionDataModule``.
        on_bad_image: see ``DetectionDataModule``.
        max_pixels: see ``DetectionDataModule``.
        train_share: see ``DetectionDataModule``.
    """

    #: Which figures a data set of this kind is judged by: ``voc`` adds VOC mAP to COCO's AP.
    protocol: Literal["coco", "voc"] = "coco"

    def __init__(
        self,
        train_split: str,
        val_split: str | None,
        test_split: str | None,
        val_share: float,
        on_bad_image: Literal["error", "skip"],
        max_pixels: int,
        train_share: float = 1.0,
    ) -> None:
        if not 0 < train_share <= 1:
            raise UserError(
                f"data.train_share={train_share}: give a number above 0 and at most 1, which is "
                "all images"
            )
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share}: give a number between 0 and 1")
        if not train_split:
            raise UserError("data.train_split is missing: give the name of a set of images")
        self.train_split = train_split
        self.val_split = val_split or None
        self.test_split = test_split or None
        #: Whether the test split is found by its name; one that the user names is to be measured.
        self._finds_test = test_split == AUTO
        self.val_share = val_share
        self.train_share = train_share
        self.on_bad_image: Literal["error", "skip"] = on_bad_image
        self.max_pixels = max_pixels
        self._splits: dict[str, DataSplit] = {}
        self._all_to_learn_from: DataSplit | None = None
        self._measured: Measured = "val"
        self._written: tuple[Path, Mapping[str, str]] | None = None

    @abstractmethod
    def read(self, split: str, classes: Classes | None) -> DataSplit:
        """Read a split.

        Args:
            split: its name.
            classes: those of another split or of a checkpoint, whose labels this one shall have;
                None: the split's own.

        Raises:
            UserError: if something is missing or wrong, or is of a class that is not among them.
        """

    def find_splits(self) -> Splits:
        """Return the names of the splits where some are to be found by their usual names.

        Raises:
            UserError: if it cannot be told, or this kind of data is not looked at so.
        """
        raise UserError(
            f"data.train_split={self.train_split} data.val_split={self.val_split} "
            f"data.test_split={self.test_split}: {type(self).__name__} finds no splits by itself; "
            "give their names"
        )

    def find_measured(self) -> str:
        """Return the name of the split to measure a checkpoint on, likewise.

        Raises:
            UserError: see ``find_splits``.
        """
        return self.find_splits().val or self.train_split

    @property
    def found(self) -> str | None:
        """What the folder was found to be and why; None where it was not looked at."""
        return None

    def choose_splits(self) -> None:
        """Find the names of the splits that were not given."""
        if AUTO in (self.train_split, self.val_split, self.test_split):
            chosen = self.find_splits()
            self.train_split, self.val_split = chosen.train, chosen.val
            self.test_split = chosen.test

    @property
    def train(self) -> DataSplit:
        """The split to learn from.

        Raises:
            UserError: if it cannot be read.
        """
        if "train" not in self._splits:
            self.choose_splits()
            whole = self._checked(self.read(self.train_split, None))
            if self.val_split is None:
                whole, val = self._shared_out(whole)
                self._splits.setdefault("val", val)  # as a checkpoint's classes name it
            self._all_to_learn_from = whole
            if self.train_share < 1:
                part = part_of(whole, self.train_share)
                name = f"{self.train_share:g} of {whole.name}"
                whole = whole.kept(part, name, counted=True)
            self._splits["train"] = whole
        return self._splits["train"]

    @property
    def val(self) -> DataSplit:
        """The split to choose the best epoch by, with the classes of the training split."""
        if "val" not in self._splits:
            classes = self.train.classes
            if self.val_split is not None:
                self._splits["val"] = self._checked(self.read(self.val_split, classes))
        return self._splits["val"]

    @property
    def test(self) -> DataSplit | None:
        """The split to report in the end, with the classes of the training split; None: none."""
        if "test" not in self._splits:
            classes = self.train.classes
            if self.test_split is None:
                return None
            split = self.read(self.test_split, classes)
            if not split.annotated and self._finds_test:  # as that of a challenge
                self.test_split = None
                return None
            self._splits["test"] = self._checked(split)
        return self._splits["test"]

    def read_val(self, class_names: Sequence[str], category_ids: Sequence[int]) -> DataSplit:
        """Read the split to measure on with a checkpoint's classes; no training split is needed.

        One without annotations will do: see ``DataSplit.annotated``.
        """
        classes = Classes(tuple(class_names), tuple(category_ids))
        if self.val_split == AUTO:
            # Of a data set that nothing was learnt from all images count.
            self.val_split = self.find_measured()
        elif self.val_split is None and self.train_split == AUTO:
            self.train_split = self.find_splits().train
        split = self.read(self.val_split or self.train_split, classes)
        if self.val_split is None:
            _, split = self._shared_out(split)
        self._splits["val"] = self._checked(split, annotated=False)
        return self._splits["val"]

    def whole_splits(self) -> list[DataSplit]:
        """Return the sets that were found or named, each once and as it lies on the disk.

        No share is split off, and a set for testing may be without annotations.
        """
        self.choose_splits()
        first = self.read(self.train_split, None)
        names = dict.fromkeys((self.val_split, self.test_split))
        others = [name for name in names if name is not None and name != self.train_split]
        return [first, *(self.read(name, first.classes) for name in others)]

    @property
    def measured(self) -> DataSplit:
        """The split that ``val_dataloader`` hands out."""
        if self._measured == "test" and self.test is not None:
            return self.test
        return self.val

    @contextmanager
    def measuring(self, which: Measured) -> Iterator[None]:
        """Let ``val_dataloader`` hand out another split for a while."""
        before, self._measured = self._measured, which
        try:
            yield
        finally:
            self._measured = before

    def use_split(self, file: Path) -> None:
        """Share images out as a run did that wrote ``file``; nothing is done where it wrote none.

        Raises:
            UserError: if the file cannot be read.
        """
        if file.is_file():
            self._written = file, read_split(file)

    def write_split(self, file: Path) -> None:
        """Write down how images were shared out, if they were."""
        if self.val_split is None:
            _ = self.train
            assert self._all_to_learn_from is not None
            # Also what a share leaves out: else it could not be told from new images.
            write_split(self._all_to_learn_from, self.val, file)

    def _shared_out(self, whole: DataSplit) -> tuple[DataSplit, DataSplit]:
        """Split a share off: what is left, and the share."""
        if len(whole) < 2:
            raise UserError(
                f"split {whole.name} has one image, of which no share can be split off for "
                "validation; give data.val_split"
            )
        if self._written is not None:
            file, sides = self._written
            chosen = given_share(whole, sides, file)
        else:
            chosen = share_of(whole, self.val_share)
        share = f"{self.val_share:g} of {whole.name}"
        return (
            whole.kept(~chosen, f"the rest of {whole.name}", counted=True),
            whole.kept(chosen, share, counted=False),
        )

    def _checked(self, split: DataSplit, annotated: bool = True) -> DataSplit:
        """Refuse beforehand what training or evaluation would stumble over."""
        if annotated and not split.annotated:
            raise UserError(
                f"split {split.name} has no list of annotations: it can be neither learnt from nor "
                "measured on"
            )
        if self.on_bad_image == "error":
            split.check(max_pixels=self.max_pixels)
        return split
