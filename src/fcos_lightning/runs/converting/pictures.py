"""Pictures of a data set, on which a file is held against the detector that it was made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.modules import ShapesDataModule
from fcos_lightning.data.resizing import Sides
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.drawn import NUMBER


def split_of(
    datamodule: DetectionDataModule, detector: DenseDetector, draw: bool = False
) -> DataSplit | None:
    """Return the split that a detector is measured on; None: it would have to be drawn first.

    Args:
        datamodule: that reads it.
        detector: says which classes there are.
        draw: whether to draw it then.

    Raises:
        UserError: if it cannot be read, or the detector does not name its classes.
    """
    if detector.class_names is None or detector.category_ids is None:
        raise UserError("the checkpoint does not name its classes")
    if not draw and isinstance(datamodule, ShapesDataModule) and not datamodule.root.is_dir():
        return None
    return datamodule.read_val(detector.class_names, detector.category_ids)


def pictures_of(
    split: DataSplit, sides: Sides, max_pixels: int, number: int = NUMBER
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield pictures from all over a split as the detector sees them, and their names.

    Raises:
        UserError: if one cannot be read.
    """
    for place in split.evenly(number):
        image = split.image(place, max_pixels)
        yield str(split.truth.file_names[place]), sides.seen(image)
