"""A split of a data set: what is in each image, and where the images lie.

Legend: ``N`` images, ``G`` boxes of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import (
    LARGEST_PX,
    ImageSource,
    StoredImage,
    image_size,
    read_image,
)
from fcos_lightning.data.splits.stated_sizes import check_largest, other_size
from fcos_lightning.data.stores.loose import LooseFiles
from fcos_lightning.data.stores.store import ImageStore
from fcos_lightning.errors import UserError
from fcos_lightning.structures import GroundTruth

#: Images from afar that are looked at together.
_AT_A_TIME = 8


@dataclass(frozen=True)
class Classes:
    """Classes in the order of their labels, as another split or a checkpoint has them.

    Attributes:
        names: one per label.
        category_ids: one per label, the ids of the data set's own files.
    """

    names: tuple[str, ...]
    category_ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class DataSplit:
    """One split of a data set: its annotations and where its images lie.

    It holds flat arrays only, so loader workers share it without copying.

    Attributes:
        truth: the annotations, less those dropped.
        image_dir: resolved folder that ``truth.file_names`` are relative to; of packed images the
            place where they are packed, of others on object storage the folder of their names.
        dropped: how many annotations were left out, by reason; only reasons that occurred.
        name: of the split, for messages.
        remarks: what the user should know of the annotations: read otherwise than they stand, or
            odd though they are kept.
        annotated: False where the data set's own files hold no list of annotations at all, as
            for a test set: then nothing can be learnt or measured.
        elsewhere: where the images are if they are no files of ``image_dir``: in shards, or on
            object storage.
    """

    truth: GroundTruth
    image_dir: Path
    dropped: Mapping[str, int]
    name: str
    remarks: tuple[str, ...] = ()
    annotated: bool = True
    elsewhere: ImageStore | None = None

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def images(self) -> ImageStore:
        """Where the images are."""
        if self.elsewhere is not None:
            return self.elsewhere
        return LooseFiles(self.image_dir, self.truth.file_names)

    @property
    def place(self) -> str:
        """The folder or address of its images."""
        return self.images.place_name

    @property
    def classes(self) -> Classes:
        """Its classes."""
        return Classes(self.truth.class_names, self.truth.category_ids)

    def notes(self) -> list[str]:
        """Return what was left out, and what else the user should know, a line each."""
        dropped = [f"{number} boxes {reason}: left out" for reason, number in self.dropped.items()]
        return [*dropped, *self.remarks]

    def path(self, image: int) -> Path:
        """File of the ``image``-th image. It existed inside ``image_dir`` at indexing.

        Raises:
            UserError: if the images are packed, or on object storage.
        """
        if self.elsewhere is not None:
            raise UserError(
                f"{self.elsewhere.name(image)} is no file of a folder on this machine, and this "
                "needs one: unpack or copy it"
            )
        return self.image_dir / str(self.truth.file_names[image])

    def image(self, image: int, max_pixels: int = LARGEST_PX) -> NDArray[np.uint8]:
        """Read the ``image``-th image and check it against the annotated size.

        Returns:
            ``[H, W, 3]`` uint8 RGB, the stored pixels.

        Raises:
            UserError: if the file cannot be read, or its size is not the annotated one: then its
                boxes would lie in the wrong place, as when an annotator was shown the image
                turned by its EXIF orientation.
        """
        pixels = read_image(self.source(image), max_pixels)
        self.check_size(image, (pixels.shape[0], pixels.shape[1]))
        return pixels

    def evenly(self, most: int | None) -> list[int]:
        """Return the positions of so many images, evenly over the split; None: of all."""
        if most is None or most >= len(self):
            return list(range(len(self)))
        places: list[int] = np.linspace(0, len(self) - 1, most).round().astype(int).tolist()
        return sorted(set(places))

    def check(self, most: int = 32, max_pixels: int = LARGEST_PX) -> None:
        """Look for what would end training later: sizes that are too large or not the annotated.

        Args:
            most: headers of so many images, spread over the split, are read. Of packed images
                none are: each was looked at as it was packed.
            max_pixels: see ``image``.

        Raises:
            UserError: as ``image`` would.
        """
        check_largest(self.truth.sizes_hw, max_pixels, self.name, self.images.name)
        if not self.images.is_packed:
            places = np.unique(np.linspace(0, len(self) - 1, most, dtype=np.int64)).tolist()
            with ThreadPoolExecutor(1 if self.elsewhere is None else _AT_A_TIME) as pool:
                sizes = pool.map(lambda image: image_size(self.source(image)), places)
                for image, size_hw in zip(places, sizes, strict=True):
                    self.check_size(image, size_hw)

    def source(self, image: int) -> ImageSource:
        """Return what the ``image``-th image is read from: its file, or the bytes of a member.

        Raises:
            UserError: if the bytes cannot be had.
        """
        if self.elsewhere is None:
            return self.path(image)
        return StoredImage(self.elsewhere.name(image), self.elsewhere.read(image))

    def check_size(self, image: int, size_hw: tuple[int, int]) -> None:
        """Compare a stored size with the annotated one.

        Raises:
            UserError: if they differ.
        """
        height, width = (int(size) for size in self.truth.sizes_hw[image])
        if size_hw != (height, width):
            raise other_size(self.source(image), size_hw, (height, width))

    def kept(self, kept: NDArray[np.bool_], name: str, counted: bool) -> DataSplit:
        """Return some of the images, with their boxes and all of the classes.

        Args:
            kept: ``[N]`` which ones.
            name: of what is returned.
            counted: whether it says what was left out and is odd, which is known of all together.
        """
        dropped, remarks = (self.dropped, self.remarks) if counted else ({}, ())
        return replace(
            self,
            truth=self.truth.kept(kept),
            dropped=dropped,
            name=name,
            remarks=remarks,
            elsewhere=None if self.elsewhere is None else self.elsewhere.kept(kept),
        )

    def target(
        self, image: int, with_ignored: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Boxes of the ``image``-th image to train on: those not ignored.

        Args:
            image: its position in the split.
            with_ignored: the ignored ones too, with -1 as their label.

        Returns:
            ``[G, 4]`` float64 xyxy in pixels of the file, not clipped, and ``[G]`` int64 labels.
        """
        rows = self.truth.rows(image)
        boxes, ignored = self.truth.boxes_xyxy[rows], self.truth.ignored[rows]
        labels = np.where(ignored, -1, self.truth.labels[rows])
        kept = np.ones_like(ignored) if with_ignored else ~ignored
        return boxes[kept], labels[kept]
