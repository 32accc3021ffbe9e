"""What every reader of annotations returns, and the one policy on which boxes count.

Legend: ``N`` images, ``M`` boxes as found in the files, ``G`` boxes of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.structures import GroundTruth

NOT_FINITE = "with NaN or infinite coordinates"
NO_AREA = "of zero or negative size"
OUTSIDE = "outside the image"


@dataclass(frozen=True, eq=False)
class DataSplit:
    """One split of a data set: its annotations and where its images lie.

    It holds flat arrays only, so loader workers share it without copying.

    Attributes:
        truth: the annotations, less those dropped.
        image_dir: resolved folder that ``truth.file_names`` are relative to.
        dropped: how many annotations were left out, by reason; only reasons that occurred.
        name: of the split, for messages.
    """

    truth: GroundTruth
    image_dir: Path
    dropped: Mapping[str, int]
    name: str

    def __len__(self) -> int:
        return len(self.truth)

    def path(self, image: int) -> Path:
        """File of the ``image``-th image. It existed inside ``image_dir`` at indexing."""
        return self.image_dir / str(self.truth.file_names[image])

    def image(self, image: int, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
        """Read the ``image``-th image and check it against the annotated size.

        Returns:
            ``[H, W, 3]`` uint8 RGB, the stored pixels.

        Raises:
            UserError: if the file cannot be read, or its size is not the annotated one: then its
                boxes would lie in the wrong place, as when an annotator was shown the image
                turned by its EXIF orientation.
        """
        path = self.path(image)
        pixels = read_image(path, max_pixels)
        height, width = (int(size) for size in self.truth.sizes_hw[image])
        if pixels.shape[:2] != (height, width):
            turned = pixels.shape[:2] == (width, height)
            raise UserError(
                f"image {path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, but annotated as "
                f"{width} x {height}: "
                + (
                    "it seems to have been annotated as turned by its EXIF orientation; store it "
                    "turned and without that tag"
                    if turned
                    else "mend the annotation or the image"
                )
            )
        return pixels

    def target(self, image: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Boxes of the ``image``-th image to train on: those not ignored.

        Returns:
            ``[G, 4]`` float64 xyxy in pixels of the file, not clipped, and ``[G]`` int64 labels.
        """
        rows = self.truth.rows(image)
        kept = ~self.truth.ignored[rows]
        return self.truth.boxes_xyxy[rows][kept], self.truth.labels[rows][kept]


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """Annotations as a reader found them, in any order and of any quality.

    Attributes:
        image: ``[M]`` int64, position of the image among the split's images.
        xyxy: ``[M, 4]`` float64 pixels, right and bottom ends exclusive.
        labels: ``[M]`` int64.
        ignored: ``[M]`` bool.
        areas_px: ``[M]`` float64; NaN where not annotated.
    """

    image: NDArray[np.int64]
    xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas_px: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> FoundBoxes:
        """Return those at some rows, in their order."""
        return FoundBoxes(
            image=self.image.take(rows),
            xyxy=self.xyxy.take(rows, axis=0),
            labels=self.labels.take(rows),
            ignored=self.ignored.take(rows),
            areas_px=self.areas_px.take(rows),
        )


def build_split(
    *,
    name: str,
    image_dir: Path,
    image_ids: Sequence[int] | NDArray[np.int64],
    file_names: Sequence[str],
    sizes_hw: Sequence[tuple[int, int]] | NDArray[np.int64],
    boxes: FoundBoxes,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    where: Callable[[int], str],
    strict: bool,
    dropped: Mapping[str, int] | None = None,
) -> DataSplit:
    """Sort annotations by image and drop the boxes nothing can be learnt from or matched to.

    Dropped are boxes with NaN or infinite coordinates, of zero or negative size, and those with
    nothing left inside the image. A box that is partly outside stays as annotated. Training,
    evaluation and checking all see what this function leaves.

    Args:
        name: see :class:`DataSplit`.
        image_dir: see :class:`DataSplit`.
        image_ids: ``[N]``.
        file_names: ``[N]``, relative to ``image_dir``.
        sizes_hw: ``[N, 2]`` pixels.
        boxes: the annotations.
        class_names: one per label.
        category_ids: one per label.
        where: says for a row of ``boxes`` which file, image and annotation it came from.
        strict: refuse what would be dropped.
        dropped: what the reader itself has dropped before.

    Raises:
        UserError: in strict mode, for the first box that would be dropped.
    """
    sizes = np.asarray(sizes_hw, dtype=np.int64).reshape(-1, 2)
    counts = dict(dropped or {})
    usable = np.ones(len(boxes.xyxy), dtype=bool)
    for reason, bad in _faults(boxes.xyxy, sizes.take(boxes.image, axis=0)).items():
        rows = np.flatnonzero(bad & usable)
        if len(rows) and strict:
            row = int(rows[0])
            raise UserError(
                f"{where(row)}: a box {reason} (x1, y1, x2, y2 = {boxes.xyxy[row].tolist()}): "
                "correct it, or set strict to false to drop such boxes"
            )
        if len(rows):
            counts[reason] = len(rows)
        usable &= ~bad

    rows = np.flatnonzero(usable)
    # No two keys are equal, so that any sort is stable, also numpy's fastest.
    in_order = np.sort(boxes.image.take(rows) * len(usable) + rows) % max(len(usable), 1)
    kept = boxes.take(in_order)
    per_image = np.bincount(kept.image, minlength=len(sizes))
    xyxy = kept.xyxy
    box_areas = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    truth = GroundTruth(
        image_ids=np.asarray(image_ids, dtype=np.int64),
        file_names=np.asarray(file_names, dtype=np.str_),
        sizes_hw=sizes,
        first_box=np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64),
        boxes_xyxy=xyxy,
        labels=kept.labels,
        ignored=kept.ignored,
        areas_px=np.where(np.isfinite(kept.areas_px), kept.areas_px, box_areas),
        class_names=tuple(class_names),
        category_ids=tuple(category_ids),
    )
    return DataSplit(truth, image_dir.resolve(), counts, name)


def _faults(xyxy: NDArray[np.float64], sizes_hw: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """For each reason to drop a box, ``[M]`` bool; ``sizes_hw`` is ``[M, 2]``."""
    x1, y1, x2, y2 = np.ascontiguousarray(xyxy.T)
    height, width = np.ascontiguousarray(sizes_hw.T)
    finite = np.isfinite(x1) & np.isfinite(y1) & np.isfinite(x2) & np.isfinite(y2)
    # Far enough out, x + width rounds to x: a size is judged by the corners that are kept.
    no_area = (x2 <= x1) | (y2 <= y1)
    outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
    return {NOT_FINITE: ~finite, NO_AREA: no_area, OUTSIDE: outside}
