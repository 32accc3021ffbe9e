"""What the parts hand to one another. Everything is frozen; shapes and units stand here once.

Legend: ``B`` images, ``P`` points of all levels (level-major, row-major inside a level),
``G`` boxes of one image, ``C`` classes, ``N`` images and ``M`` boxes of a whole data set.
Boxes are ``xyxy`` in pixels, the right and bottom ends exclusive, so ``width = x2 - x1``.
"""

from fcos_lightning.structures.batches import Batch, Images, PaddedTargets, Views
from fcos_lightning.structures.detections import Detections
from fcos_lightning.structures.predictions import Assignment, Losses, Points, Prediction, Totals
from fcos_lightning.structures.targets import GroundTruth, Target, Targets

__all__ = [
    "Assignment",
    "Batch",
    "Detections",
    "GroundTruth",
    "Images",
    "Losses",
    "PaddedTargets",
    "Points",
    "Prediction",
    "Target",
    "Targets",
    "Totals",
    "Views",
]
