"""What every reader of annotations returns: a split, its classes, and which boxes count."""

from fcos_lightning.data.splits.build import NO_BOX, FoundBoxes, build_split
from fcos_lightning.data.splits.data_split import Classes, DataSplit

__all__ = ["NO_BOX", "Classes", "DataSplit", "FoundBoxes", "build_split"]
