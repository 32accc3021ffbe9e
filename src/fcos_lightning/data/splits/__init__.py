"""What every reader of annotations returns: a split, its classes, and which boxes count."""

from fcos_lightning.data.splits.data_split import Classes, DataSplit
from fcos_lightning.data.splits.found_boxes import NO_BOX, FoundBoxes, build_split

__all__ = ["NO_BOX", "Classes", "DataSplit", "FoundBoxes", "build_split"]
