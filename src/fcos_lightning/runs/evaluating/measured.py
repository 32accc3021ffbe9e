"""What ``fcos-test`` measures: a checkpoint, in torch or on an engine, or a converted file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.asked import said_sides
from fcos_lightning.inference.engines.file_detector import FileDetector
from fcos_lightning.inference.tiling.windows import Tiles
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.evaluating.evaluation_settings import quicker, sized_as_trained
from fcos_lightning.runs.objects.detectors import converted_from, detector_from, on_backend
from fcos_lightning.structures.batches import LARGEST_SIDES
from fcos_lightning.training.testing import TiledSizes, ViewSizes


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured, and how images are shown to it.

    Attributes:
        path: of the file.
        detector: its own, in torch or as it is.
        backend: that is to run it.
        views: several sizes, or tiles; None: the one size of the data.
        size: at which size, for people.
        collate: pads images to a batch as the detector wants it; None: one at a time, as they are.
    """

    path: Path
    detector: DenseDetector | FileDetector
    backend: str
    views: ViewSizes | TiledSizes | None
    size: str
    collate: Collate | None

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, backend: str, config: DictConfig) -> Measured:
        """Return a checkpoint as a configuration wants it measured; sets the sides of its data.

        Raises:
            UserError: if it cannot be.
        """
        detector = detector_from(checkpoint, config)
        size = sized_as_trained(config, checkpoint.about, given_words())
        views = _view_sizes(config) or _tiled_sizes(config)
        collate = Collate(detector.size_multiple, detector.pad_beyond)
        return cls(checkpoint.path, detector, backend, views, _told(views, size), collate)

    @classmethod
    def of_file(cls, given: str, backend: str, config: DictConfig) -> Measured:
        """Return a converted file as a configuration wants it measured, see ``of_checkpoint``.

        Raises:
            UserError: if it cannot be, or if what is asked for takes more than boxes.
        """
        if config.report:
            raise UserError(
                f"report=true: tells of levels, of which {given} says nothing; give the checkpoint "
                "that it was made of"
            )
        if _view_sizes(config) is not None:
            raise UserError(
                f"test.tta={config.test.tta}: views are merged before NMS, which {given} holds; "
                "give the checkpoint that it was made of, which backend= runs as well"
            )
        file = converted_from(given, backend, _device(config))
        words = given_words()
        if file.size_hw is None:
            about = dict(zip(LARGEST_SIDES, file.stated.sides, strict=True))
            size = sized_as_trained(config, about, words)
            sides = file.sides(int(config.data.shorter_side), int(config.data.longer_side))
        else:
            asked = [config.data[k] if f"data.{k}" in words else None for k in LARGEST_SIDES]
            sides = file.sides(*asked)
            size = f"images of {file.size_hw[0]}x{file.size_hw[1]} pixels"
        tiles = None
        if config.tiles is not None:
            tiles = Tiles.of(config.tiles, config.tiles_overlap, sides[0])
        views = TiledSizes(tiles, sides, file.size_hw)
        return cls(file.path, file, backend, views, _told(views, size), None)

    @property
    def classes(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Names and ids of the classes, one per label.

        Raises:
            UserError: if nobody said.
        """
        names, ids = self.detector.class_names, self.detector.category_ids
        if names is None or ids is None:
            raise UserError(
                f"ckpt={self.path}: it does not name its classes, so it cannot be measured"
            )
        return names, ids

    def ready(self, config: DictConfig) -> tuple[DenseDetector | FileDetector, bytes | None]:
        """Return what runs, and the ONNX model that a checkpoint became on its way.

        Raises:
            UserError: if a checkpoint cannot run on an engine.
        """
        if isinstance(self.detector, FileDetector):
            return self.detector, None
        if self.backend == "torch":
            accelerator, layout = config.trainer.accelerator, config.channels_last
            return quicker(self.detector, accelerator, layout), None
        return on_backend(self.detector, self.backend, said_sides(config.data), _device(config))


def _device(config: DictConfig) -> str:
    return "cpu" if config.trainer.accelerator == "cpu" else "auto"


def _told(views: ViewSizes | TiledSizes | None, size: str) -> str:
    """Return at which size is measured, for people."""
    if isinstance(views, TiledSizes) and views.tiles is not None:
        return f"in tiles of {views.tiles.height}x{views.tiles.width} pixels, each {size}"
    if isinstance(views, ViewSizes):
        told = f"shorter sides {', '.join(map(str, views.sizes))}, longer at most"
        return told + f" {views.longer_side}" + (", each also mirrored" if views.flip else "")
    return size


def _view_sizes(config: DictConfig) -> ViewSizes | None:
    """Return the sizes that ``test.tta`` asks for; None: the one of the data."""
    if config.test.tta is not None and config.tiles is not None:
        raise UserError(f"tiles={config.tiles} test.tta={config.test.tta}: give one of the two")
    if config.test.tta is None:
        return None
    if config.test.tta != "multiscale":
        raise UserError(f"test.tta={config.test.tta}: give multiscale, or null for one size")
    return ViewSizes(tuple(config.test.sizes), config.test.longer_side, config.test.flip)


def _tiled_sizes(config: DictConfig) -> TiledSizes | None:
    """Return the tiles that ``tiles`` asks for; None: images are looked at as a whole.

    Raises:
        UserError: for what is no size.
    """
    if config.tiles is None:
        return None
    sides = int(config.data.shorter_side), int(config.data.longer_side)
    return TiledSizes(Tiles.of(config.tiles, config.tiles_overlap, sides[0]), sides)
