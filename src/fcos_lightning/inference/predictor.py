"""A detector in three lines: a checkpoint, an image, its boxes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn

from fcos_lightning.data.resizing import Sides
from fcos_lightning.detector.parts import Part
from fcos_lightning.errors import UserError
from fcos_lightning.inference.asked import check_names, check_numbers, least_scores
from fcos_lightning.inference.devices import chosen_device
from fcos_lightning.inference.engines.dense import EngineDetector
from fcos_lightning.inference.engines.engine import Engine
from fcos_lightning.inference.engines.file_detector import FileDetector
from fcos_lightning.inference.engines.loading import opened
from fcos_lightning.inference.folded import for_inference
from fcos_lightning.inference.in_order import in_order, thread_count
from fcos_lightning.inference.pictures.pixels import SINGLE, AnyImage, rgb_pixels
from fcos_lightning.inference.prepared import Prepared, prepare
from fcos_lightning.inference.tiling.looking import InTiles, nms_iou_of
from fcos_lightning.inference.tiling.rows import PixelRows
from fcos_lightning.inference.tiling.windows import Tiles
from fcos_lightning.structures import Detections, Images

if TYPE_CHECKING:
    from fcos_lightning.detector import DenseDetector


class Predictor:
    """Finds objects in images of any size and kind.

    Images are resized as the detector was evaluated, and boxes come in pixels of the image given.
    The same image gives what ``fcos-test`` finds in it.

    Attributes:
        detector: what runs: a copy, see ``for_inference``, or what an engine computes.
        device: where torch's part of it lies.
        engine: what computes it, or None: torch does.
        class_names: one per label, or None where the checkpoint does not say.

    Args:
        detector: stays as it is; one that an engine computes (``on_engine``, ``open_file``) is used
            itself, on the device that it was made for.
        shorter_side: what the shorter side of an image is resized to, in pixels.
        longer_side: what the longer side may at most become, in pixels.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        score_threshold: detections with a lower score are left out; 0 keeps all that the decoder
            gives.
        thresholds: one for each class instead: a ``thresholds.json`` as ``fcos-report`` writes it,
            or class name -> score; classes that are not named have ``score_threshold`` then.
        channels_last: memory layout: ``auto`` as is fastest on the device, or whether.
        batch_size: images at a time, or tiles; above 1, smaller ones are padded as in training.
        tiles: ``auto`` or ``HEIGHTxWIDTH``: look at large images in tiles, see ``Tiles.of``; None:
            at each image as a whole.
        tiles_overlap: share of a tile's side that its neighbour has too.

    Raises:
        UserError: if the device is not there, a number is out of its range, or the thresholds name
            a class that the detector does not have.
    """

    def __init__(
        self,
        detector: DenseDetector | FileDetector,
        shorter_side: int,
        longer_side: int,
        *,
        device: str | torch.device = "auto",
        score_threshold: float = 0.0,
        thresholds: Mapping[str, float] | str | Path | None = None,
        channels_last: bool | Literal["auto"] = "auto",
        batch_size: int = 1,
        tiles: str | None = None,
        tiles_overlap: float = 0.2,
    ) -> None:
        check_numbers(
            score_threshold,
            shorter_side=shorter_side,
            longer_side=longer_side,
            batch_size=batch_size,
        )
        self.shorter_side, self.longer_side = shorter_side, longer_side
        self.score_threshold = score_threshold
        self._least = least_scores(detector, score_threshold, thresholds)
        self.batch_size = batch_size
        self.engine: Engine | None = None
        self.detector: DenseDetector | FileDetector
        if isinstance(detector, FileDetector | EngineDetector):
            self.engine = detector.engine
            self.device = torch.device("cpu")
            self.detector = detector
        else:
            self.device = chosen_device(device)
            self.detector = for_inference(detector, channels_last, self.device).to(self.device)
        size_hw = detector.size_hw if isinstance(detector, FileDetector) else None
        self._sides = Sides(shorter_side, longer_side, size_hw)
        names = detector.class_names
        self.class_names = None if names is None else tuple(names)
        self.in_tiles: InTiles | None = None
        if tiles is not None:
            cut = Tiles.of(tiles, tiles_overlap, shorter_side)
            sides, iou = (shorter_side, longer_side), nms_iou_of(detector)
            self.in_tiles = InTiles(self._looked_at, cut, sides, iou, batch_size, size_hw)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        device: str | torch.device = "auto",
        *,
        backend: str = "auto",
        score_threshold: float = 0.0,
        thresholds: Mapping[str, float] | str | Path | None = None,
        decoder: Mapping[str, Any] | Part | None = None,
        shorter_side: int | None = None,
        longer_side: int | None = None,
        channels_last: bool | Literal["auto"] = "auto",
        batch_size: int = 1,
        tiles: str | None = None,
        tiles_overlap: float = 0.2,
        recipe: str | None = None,
        **parts: Mapping[str, Any] | Part | nn.Module,
    ) -> Predictor:
        """Return the predictor of a checkpoint of ours or of another project, or a converted file.

        Args:
            checkpoint: a file, or the name of a published one, as
                ``official/FCOS_imprv_R_50_FPN_1x``, which is fetched once; or the ``model.onnx`` or
                ``model.xml`` of ``fcos-convert``, which says itself what it needs.
            device: see the class; for engines ``auto`` or ``cpu``, for ONNX Runtime ``cuda`` too.
            backend: ``torch``, ``onnx`` or ``openvino``; ``auto``: torch, and of a converted file
                its own. For the others a checkpoint is converted once, see ``on_engine``.
            score_threshold: see the class.
            thresholds: see the class.
            decoder: see ``load_detector``.
            shorter_side: to resize to, in pixels; None: as the checkpoint was evaluated.
            longer_side: likewise.
            channels_last: see the class.
            batch_size: see the class.
            tiles: see the class.
            tiles_overlap: see the class.
            recipe: for a foreign file whose tensors leave a choice, see ``load_detector``.
            **parts: of your own, see ``load_detector``.

        Raises:
            UserError: if the file is no checkpoint, does not say at which size it was evaluated, or
                an option is out of its range.
        """
        check_names(parts)
        options = {"decoder": decoder, "recipe": recipe, "channels_last": channels_last, **parts}
        detector, sides = opened(
            checkpoint, backend, str(device), (shorter_side, longer_side), options
        )
        return cls(
            detector,
            *sides,
            device=device,
            score_threshold=score_threshold,
            thresholds=thresholds,
            channels_last=channels_last,
            batch_size=batch_size,
            tiles=tiles,
            tiles_overlap=tiles_overlap,
        )

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a string is a path, not several letters
        self, images: AnyImage
    ) -> Detections: ...

    @overload
    def __call__(self, images: Iterable[AnyImage]) -> list[Detections]: ...

    def __call__(self, images: AnyImage | Iterable[AnyImage]) -> Detections | list[Detections]:
        """Return what is found in an image, or a list of that for several.

        Args:
            images: a path; a PIL image; an array ``[H, W, 3]`` of uint8 RGB; a tensor ``[3, H, W]``
                of the same; or several of them in a list. For grey, alpha and 16 bit see
                ``inference/pictures/pixels.py``. Files and PIL images are turned as their EXIF
                orientation says.

        Returns:
            Boxes in pixels of the image given (of the turned one), on the processor, best first.

        Raises:
            UserError: if an image cannot be read, or the device has too little memory.
        """
        if isinstance(images, SINGLE):
            return next(self.stream([images]))
        if not isinstance(images, Iterable):
            rgb_pixels(images)  # says what an image can be
        return list(self.stream(images))

    def stream(self, images: Iterable[AnyImage]) -> Iterator[Detections]:
        """Yield what is found in one image after the other, in their order.

        Of a list, images are read and resized in threads while others are detected on, a few of
        them ahead. Anything else is asked for no more images than make a batch, so that there may
        be any number, and a camera lags behind by no more.

        Args:
            images: each as in ``__call__``.

        Raises:
            UserError: as ``__call__``, once what was found before is out.
        """
        if isinstance(images, SINGLE):  # a path would be taken letter by letter
            raise UserError("stream takes several images: give a list of them")
        threads = thread_count()
        prepared: Generator[Prepared | UserError, None, None]
        if isinstance(images, Sequence):
            ahead = self.batch_size + threads
            prepared = in_order(self._prepared_or_error, images, threads, ahead)
        else:
            prepared = (self._prepared_or_error(image) for image in images)
        failed: UserError | None = None
        with closing(prepared):
            while failed is None:
                batch: list[Prepared] = []
                for one in islice(prepared, self.batch_size):
                    if isinstance(one, UserError):
                        failed = one
                        break
                    batch.append(one)
                if not batch and failed is None:
                    return
                yield from self.detected(batch)
        raise failed

    def prepared(self, image: AnyImage | PixelRows) -> Prepared:
        """Return an image as the detector looks at it; may be called in any thread.

        Raises:
            UserError: if it cannot be read.
        """
        return prepare(image, self._sides, self.in_tiles)

    def padded_hw(self, image: Prepared) -> tuple[int, int]:
        """Return the size at which the detector sees an image that is alone in its batch."""
        height, width = image.planes.shape[1:]
        detector = self.detector
        if isinstance(detector, FileDetector):  # nothing is laid beside images of a batch
            return detector.size_hw or (height, width)
        return Images.padded_hw(height, width, detector.size_multiple, detector.pad_beyond)

    def _prepared_or_error(self, image: AnyImage) -> Prepared | UserError:
        try:
            return self.prepared(image)
        except UserError as error:
            return error

    def detected(self, images: Sequence[Prepared]) -> list[Detections]:
        """Return what is found in images that ``prepared`` gave, as one batch.

        Raises:
            UserError: if the device has too little memory, or the weights are not finite.
        """
        whole = [image for image in images if image.large is None]
        seen = iter(self._looked_at([image.planes for image in whole]))
        found = []
        for image in images:
            if image.large is not None:
                assert self.in_tiles is not None
                detections = self.in_tiles(image.large)
            else:
                small = torch.tensor(image.planes.shape[1:])
                detections = next(seen).resized(small, torch.tensor(image.hw))
            found.append(replace(detections, class_names=self.class_names).above(self._least))
        return found

    def _looked_at(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return what is found in images that are resized already, in their own pixels."""
        if not images:
            return []
        try:
            found = [detections.to("cpu") for detections in self.detector.detect(images)]
        except torch.OutOfMemoryError:
            raise UserError(
                f"the GPU has too little memory for batch_size={self.batch_size} at this size; "
                "give a smaller batch_size= or shorter_side=, or device=cpu"
            ) from None
        if not all(torch.isfinite(detections.boxes_xyxy).all() for detections in found):
            raise UserError(
                "the checkpoint gives boxes that are not finite: its training went wrong"
            )
        return found
