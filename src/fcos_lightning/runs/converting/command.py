"""A checkpoint as a file for other programs: made, held against torch, and only then written."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.index import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.decoding import check_decoder
from fcos_lightning.inference.deployed.equality import Compared, check_same
from fcos_lightning.inference.deployed.formats import FORMATS, Built
from fcos_lightning.inference.onnx_export import export_onnx
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.config.description import FROM_CHECKPOINT
from fcos_lightning.runs.converting.pictures import Sides, drawn_pictures, pictures_of, split_of
from fcos_lightning.runs.objects.detectors import detector_from
from fcos_lightning.runs.session import make_datamodule, quiet
from fcos_lightning.storage.replacing import write_whole

PRECISIONS = ("fp32", "fp16", "int8")
#: How images are resized where the checkpoint does not say, as in the paper.
_SIDES = {"shorter_side": 800, "longer_side": 1333}
_LARGEST_SIDE = 10_000


@dataclass(frozen=True)
class Wanted:
    """What kind of file is asked for.

    Attributes:
        suffix: of its name.
        nms: whether it gives final boxes.
        size_hw: height and width that it takes; None: any.
        precision: of its numbers.
        license: of the weights.
    """

    suffix: str
    nms: bool
    size_hw: tuple[int, int] | None
    precision: str
    license: str | None

    @classmethod
    def of(cls, config: DictConfig, out: Path) -> Wanted:
        """Return what a configuration asks for.

        Raises:
            UserError: if there is no such file.
        """
        wanted = cls(out.suffix, config.nms, _size(config.size), config.precision, config.license)
        if wanted.precision not in PRECISIONS:
            raise UserError(f"precision={wanted.precision}: give {', '.join(PRECISIONS)}")
        if not wanted.nms and wanted.suffix != ".onnx":
            raise UserError(f"nms=false: of {out.name} there is no such kind; give out=NAME.onnx")
        if not wanted.nms and (wanted.size_hw or wanted.precision != "fp32"):
            raise UserError(
                "nms=false: that model has any size and fp32; leave size= and precision= out"
            )
        if wanted.precision != "fp32" and wanted.suffix == ".pt2":
            raise UserError(
                f"precision={wanted.precision}: .pt2 is fp32; give out=NAME.onnx or out=NAME.xml"
            )
        return wanted


def convert_for_programs(checkpoint: Checkpoint, config: DictConfig, out: Path) -> str:
    """Write a file for other programs, and return what can be said of it.

    Raises:
        UserError: if it cannot be made, or finds something else than the detector does in torch;
            then nothing is written.
    """
    quiet()
    wanted = Wanted.of(config, out)
    detector = detector_from(checkpoint, config)
    said = {key: checkpoint.about.get(key) for key in _SIDES}
    if not wanted.nms:
        write_whole(export_onnx(detector, **said), out)
        return "the prediction alone, without NMS"
    check_decoder(detector)
    known = {**_SIDES, **{key: side for key, side in said.items() if side is not None}}
    sides = Sides(known["shorter_side"], known["longer_side"], wanted.size_hw)
    data = Data.of(config, detector)
    if wanted.precision != "fp32":
        data.check_measured(wanted.precision)
    about = partial(about_file, detector, said, licence=wanted.license, size_hw=wanted.size_hw)
    built = FORMATS[wanted.suffix](detector, about(), wanted.size_hw)
    same = _compared(detector, built, data, sides)
    for suffix, content in built.files.items():
        write_whole(content, out.with_suffix(suffix))
    return same


@dataclass(frozen=True)
class Data:
    """The data set of a checkpoint, as far as it is there.

    Attributes:
        module: its data module; None: there is none.
        split: that the detector is measured on; None: it is not there.
        missing: why not.
    """

    module: DetectionDataModule | None
    split: DataSplit | None
    missing: str = ""

    @classmethod
    def of(cls, config: DictConfig, detector: DenseDetector) -> Data:
        """Return the data that a configuration names.

        Raises:
            UserError: if the user named them, and they cannot be read.
        """
        if config.data is None:
            return cls(None, None, "the checkpoint does not say which data")
        try:
            module = make_datamodule(config)
            split = split_of(module, detector)
        except UserError as error:
            if _named_by_user():
                raise
            return cls(None, None, str(error))
        return cls(module, split, "" if split else "they are drawn only where they are needed")

    def check_measured(self, precision: str) -> None:
        """Refuse data on which no AP can be measured.

        Raises:
            UserError: saying why.
        """
        if self.module is None:
            raise UserError(
                f"precision={precision}: AP is measured before anything is written, and "
                f"{self.missing}; give data=NAME and data.root=DIR"
            )


def _named_by_user() -> bool:
    choice: Any = HydraConfig.get().runtime.choices.get("data")
    return choice != FROM_CHECKPOINT or any(key.startswith("data.") for key in given_words())


def _compared(detector: DenseDetector, built: Built, data: Data, sides: Sides) -> str:
    """Hold a file against its detector, and return how they compare, for people."""
    if data.split is not None and data.module is not None:
        pictures = pictures_of(data.split, sides, data.module.max_pixels)
        where = f"images of {data.split.name}"
    else:
        pictures, where = drawn_pictures(sides), "drawn images"
        if not _is_drawn(data):
            note = f"note: compared on drawn images, as {data.missing}"
            print(printable(note, LONGEST_LINE), file=sys.stderr)
    same = check_same(detector, built.run, pictures)
    return f"equal to torch on {same.images} {where}: {in_words(same)}"


def in_words(same: Compared) -> str:
    """Return how a comparison came out, for people."""
    if not same.detections:
        return "nothing was found in them"
    return (
        f"{same.detections} detections, boxes within {same.box_px:.1g} px, scores within "
        f"{same.score:.1g}"
    )


def _is_drawn(data: Data) -> bool:
    return data.module is not None


def _size(given: object) -> tuple[int, int] | None:
    """Return height and width of ``HEIGHTxWIDTH``.

    Raises:
        UserError: if it says something else.
    """
    if given is None:
        return None
    sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(given))
    height, width = (int(side) for side in sides.groups()) if sides else (0, 0)
    if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
        raise UserError(
            f"size={printable(given)}: give height and width in pixels, as 800x1344, at most "
            f"{_LARGEST_SIDE} each; or null for any"
        )
    return height, width
