"""Looks at the images of a split one after the other: boxes, mapping, and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcos_lightning.data.images import LARGEST_PX
from fcos_lightning.data.resizing import fitting_scale, planes, resized
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.explanation.answers import Unanswered, unanswered
from fcos_lightning.explanation.fates import Fates, fates_of
from fcos_lightning.explanation.mapping import Mapped
from fcos_lightning.explanation.missed import Missed, missed_because
from fcos_lightning.explanation.settings import Setting
from fcos_lightning.explanation.sizes import SizedBoxes, at_size
from fcos_lightning.structures import Detections, Prediction, Target


@dataclass(frozen=True, eq=False)
class Looked:
    """An image with its mapping.

    Attributes:
        image: its position in the split.
        wanted: ``[G0]`` int64, which of the rows of the annotations are to be found.
        sized: its boxes at the setting's size; ``rows`` are positions in ``wanted``.
        labels: ``[G]`` of these.
        mapped: the mapping.
        unanswered: boxes that no point answers for; rows are positions in ``wanted``.
    """

    image: int
    wanted: NDArray[np.int64]
    sized: SizedBoxes
    labels: Tensor
    mapped: Mapped
    unanswered: list[Unanswered]


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a detector says of an image.

    Attributes:
        prediction: on the processor.
        fates: of its candidates; None: the decoder is somebody's own.
        detections: in pixels of the file, best first.
        found: ``[G0]`` score of the detection that found each wanted box; below 0 for none.
        found_by: ``[G0]`` int64, which detection that is, -1 for none.
        missed: those that none of the threshold or more found.
    """

    prediction: Prediction
    fates: Fates | None
    detections: Detections
    found: NDArray[np.float64]
    found_by: NDArray[np.int64]
    missed: list[Missed] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Onlooker:
    """Looks at the images of a split.

    Attributes:
        split: with its annotations.
        ignore: whether points of boxes to ignore are no background, see ``DetectionDataModule``.
        detector: whose predictions are looked at; None: only the mapping is.
        threshold: score that a detection needs to find an object.
        max_pixels: larger images are refused.
    """

    split: DataSplit
    ignore: bool
    detector: DenseDetector | None = None
    threshold: float = 0.3
    max_pixels: int = LARGEST_PX

    def look(self, image: int, setting: Setting, prediction: Prediction | None = None) -> Looked:
        """Return an image with its mapping.

        Args:
            image: its position.
            setting: mapping and size.
            prediction: of the image at this size, where the assigner needs one.
        """
        truth = self.split.truth
        rows = truth.rows(image)
        ignored = truth.ignored[rows]
        wanted = np.flatnonzero(~ignored)
        height, width = (int(side) for side in truth.sizes_hw[image])
        size = ((height, width), setting.shorter, setting.longer)
        sized = at_size(truth.boxes_xyxy[rows][wanted], *size)
        crowds = None
        if self.ignore and ignored.any():
            crowds = at_size(truth.boxes_xyxy[rows][ignored], *size).boxes_xyxy
        labels = torch.from_numpy(truth.labels[rows][wanted])[sized.rows]
        target = Target(sized.boxes_xyxy, labels, crowds)
        needed = prediction if setting.mapping.assigner.needs_prediction else None
        mapped = setting.mapping(target, sized.size_hw, needed)
        lost = unanswered(image, mapped, sized.rows, len(wanted))
        return Looked(image, wanted, sized, labels, mapped, lost)

    def predict(self, image: int, setting: Setting) -> Prediction:
        """Return what the detector says of an image, on the processor.

        Raises:
            UserError: if the image cannot be read.
        """
        assert self.detector is not None
        pixels = self.split.image(image, self.max_pixels)
        height, width = pixels.shape[:2]
        scale = fitting_scale(height, width, setting.shorter, setting.longer)
        seen = torch.from_numpy(planes(resized(pixels, scale)))
        return self.detector.predict([seen.to(self.detector.mean.device)]).to("cpu")

    def judge(self, looked: Looked, prediction: Prediction) -> Predicted:
        """Return what became of a prediction, and why objects were missed."""
        assert self.detector is not None
        mapped, size_hw = looked.mapped, torch.tensor(looked.sized.size_hw)
        decoder = self.detector.decoder
        fates = fates_of(decoder, prediction, mapped.points, size_hw)
        if fates is None:
            found = decoder(prediction, mapped.points, size_hw[None])[0]
        else:
            found = fates.detections()
        one = self.split.truth.sizes_hw[looked.image]
        detections = found.resized(size_hw, torch.from_numpy(one))
        scores, found_by = self._found(looked, detections)
        is_found = torch.from_numpy(scores >= self.threshold)[looked.sized.rows]
        missed = missed_because(
            looked.sized.boxes_xyxy,
            looked.labels,
            looked.sized.rows,
            is_found,
            looked.unanswered,
            fates,
            self.threshold,
        )
        return Predicted(prediction, fates, detections, scores, found_by, missed)

    def _found(
        self, looked: Looked, detections: Detections
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return which detection COCO's matching gives each wanted box, and its score."""
        truth = self.split.kept(np.arange(len(self.split)) == looked.image, "one", False).truth
        (real,) = detections.boxes_xyxy.isfinite().all(dim=1).nonzero(as_tuple=True)
        kept = Detections(
            detections.boxes_xyxy[real], detections.scores[real], detections.labels[real]
        )
        table = DetectionTable.from_detections([(int(truth.image_ids[0]), kept)])
        by = matched(truth, table).found_by[looked.wanted]
        if not len(kept):
            return np.full(len(by), -1.0), by
        return np.where(by < 0, -1.0, table.scores[by]), np.where(by < 0, -1, real.numpy()[by])
