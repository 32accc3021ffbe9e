"""From boxes as a reader found them to a split: the one policy on which of them count.

Legend: ``N`` images, ``M`` boxes as found in the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.complaints import RawBoxes, is_heard, show_boxes
from fcos_lightning.data.readers.plausible import faults, odd_places, plausible_areas
from fcos_lightning.data.splits.data_split import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.structures import GroundTruth

NO_BOX = "missing, in entries without a box"


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
    remarks: Sequence[str] = (),
    annotated: bool = True,
    sides_stated: bool = False,
) -> DataSplit:
    """Sort annotations by image and drop the boxes nothing can be learnt from or matched to.

    Dropped are boxes with NaN or infinite coordinates, with coordinates beyond 2**31, of zero or
    negative size, and those with nothing left inside the image. A box that is partly outside
    stays as annotated. An area that cannot be is replaced by that of the box. Images without a
    size, whose files cannot be read, are left out and said. Training, evaluation and checking all
    see what this function leaves.

    Args:
        name: see :class:`DataSplit`.
        image_dir: see :class:`DataSplit`.
        image_ids: ``[N]``.
        file_names: ``[N]``, relative to ``image_dir``.
        sizes_hw: ``[N, 2]`` pixels; zeros where nothing states them and the file cannot be read.
        boxes: the annotations.
        class_names: one per label.
        category_ids: one per label.
        where: says for a row of ``boxes`` which file, image and annotation it came from.
        strict: refuse what would be dropped.
        dropped: what the reader itself has dropped before.
        remarks: what the reader itself has to say.
        annotated: see :class:`DataSplit`.
        sides_stated: the files state width and height of a box, not its right and bottom end.

    Raises:
        UserError: in strict mode, for the first box that would be dropped; if no image is left.
    """
    sizes = np.asarray(sizes_hw, dtype=np.int64).reshape(-1, 2)
    # Whoever keeps complaints looks at all of them.
    unsized = (sizes == 0).any(axis=1) & (not is_heard())
    counts = dict(dropped or {})
    usable = ~unsized.take(boxes.image)
    found = faults(boxes.xyxy, sizes.take(boxes.image, axis=0))
    for reason, bad in found.items():
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
    show_boxes(RawBoxes(boxes.xyxy, boxes.image, boxes.labels, sizes, found, in_order, where))
    per_image = np.bincount(kept.image, minlength=len(sizes))
    xyxy = kept.xyxy
    areas_px, odd_areas = plausible_areas(xyxy, kept.areas_px)
    truth = GroundTruth(
        image_ids=np.asarray(image_ids, dtype=np.int64),
        file_names=np.asarray(file_names, dtype=np.str_),
        sizes_hw=sizes,
        first_box=np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64),
        boxes_xyxy=xyxy,
        labels=kept.labels,
        ignored=kept.ignored,
        areas_px=areas_px,
        class_names=tuple(class_names),
        category_ids=tuple(category_ids),
    )
    said = (*remarks, *odd_areas, *odd_places(xyxy, sizes.take(kept.image, axis=0), sides_stated))
    split = DataSplit(truth, image_dir.resolve(), counts, name, said, annotated)
    return _without(unsized, split) if unsized.any() else split


def _without(unreadable: NDArray[np.bool_], split: DataSplit) -> DataSplit:
    """Leave out images that cannot be read, and say so."""
    bad = np.flatnonzero(unreadable)
    first = split.images.name(int(bad[0]))
    if len(bad) == len(split):
        raise UserError(
            f"{split.name}: none of its {len(bad)} images can be read, the first is {first}"
        )
    said = (
        f"{len(bad)} of {len(split)} images cannot be read and are left out, the first is {first}"
    )
    return replace(split, remarks=(*split.remarks, said)).kept(~unreadable, split.name, True)
