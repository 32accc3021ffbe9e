"""A checkpoint as a file for other programs: made, held against torch, and only then written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.resizing import Sides
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.decoding import check_decoder
from fcos_lightning.inference.deployed.drawn import NUMBER, drawn_pictures
from fcos_lightning.inference.deployed.equality import Compared, check_same
from fcos_lightning.inference.deployed.formats import FORMATS, SMALLER, Built, as_onnx
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.page_files import RUNTIME, page_files, runtime_files
from fcos_lightning.inference.deployed.smaller import in_float16, in_int8, layers_to_blame
from fcos_lightning.inference.engines.onnx_export import export_onnx
from fcos_lightning.inference.engines.openvino_engine import check_openvino
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.config.description import FROM_CHECKPOINT
from fcos_lightning.runs.converting.measuring import (
    ALLOWED,
    CALIBRATED_ON,
    average_precisions,
    by_file,
    by_torch,
    planes_of,
)
from fcos_lightning.runs.converting.pictures import pictures_of, split_of
from fcos_lightning.runs.converting.wanted import Wanted
from fcos_lightning.runs.objects.detectors import detector_from
from fcos_lightning.runs.session import make_datamodule, quiet
from fcos_lightning.storage.folders import complete_or_absent
from fcos_lightning.storage.replacing import write_whole

#: By what a folder is known to hold a page of ours.
_OF_PAGE = ("index.html", "about.json", "model.onnx")
#: How images are resized where the checkpoint does not say, as in the paper.
_SIDES = {"shorter_side": 800, "longer_side": 1333}


def convert_for_programs(
    checkpoint: Checkpoint, config: DictConfig, out: Path, page: bool = False
) -> str:
    """Write a file for other programs, and return what can be said of it.

    Args:
        checkpoint: that was read.
        config: of the command.
        out: the file; one of that name is replaced.
        page: it is a folder instead, for a page that runs in browsers: new, empty, or with
            ``overwrite`` one of an earlier page.

    Raises:
        UserError: if it cannot be made, or finds something else than the detector does in torch;
            then nothing is written.
    """
    quiet()
    wanted = Wanted.of(config, out, page)
    runtime = {}
    if page:
        _check_place_of_page(out, config.overwrite)
        runtime = runtime_files(config.onnxruntime_web)
    weights = out.with_suffix(".bin")
    # Of an earlier conversion only what stands beside its graph is replaced.
    theirs = weights.exists() and (not out.exists() or weights.samefile(checkpoint.path))
    if wanted.suffix == ".xml" and theirs:
        raise UserError(
            f"out={out}: its weights would be {weights.name}, which is there and is none of such "
            "a pair; give another name"
        )
    detector = detector_from(checkpoint, config)
    said = {key: checkpoint.about.get(key) for key in _SIDES}
    if not wanted.nms:
        write_whole(export_onnx(detector, **said), out)
        return "the prediction alone, without NMS"
    check_decoder(detector)
    known = {**_SIDES, **{key: side for key, side in said.items() if side is not None}}
    sides = Sides(known["shorter_side"], known["longer_side"], wanted.size_hw)
    exact = wanted.precision == "fp32"
    data = Data.of(config, detector, needed=None if exact else f"precision={wanted.precision}")
    about = partial(about_file, detector, said, licence=wanted.license, size_hw=wanted.size_hw)
    if exact:
        built = FORMATS[wanted.suffix](detector, about(), wanted.size_hw)
        outcome = _compared(detector, built, data, sides)
    else:
        if wanted.suffix == ".xml":
            check_openvino()
        model = whole_onnx(detector, about(precision=wanted.precision), wanted.size_hw)
        _compared(detector, as_onnx(model), data, sides)
        built, outcome = _smaller(model, detector, wanted, data, sides, config.limit)
    if page:
        model = built.files[".onnx"]
        _write_page({**page_files(model, about(precision=wanted.precision)), **runtime}, out)
        return outcome if runtime else f"{outcome}; {_how_to_complete(out)}"
    for suffix, content in built.files.items():
        write_whole(content, out.with_suffix(suffix))
    return outcome


def _check_place_of_page(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything else than a page that may be replaced.

    Raises:
        UserError: saying what may be given.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not all((folder / name).is_file() for name in _OF_PAGE):
        raise UserError(f"out={folder}/: is not empty; give a folder that is new or empty")
    if not overwrite:
        raise UserError(
            f"out={folder}/: is not empty, a page is there already; give another folder, or "
            "overwrite=true"
        )


def _write_page(files: Mapping[str, bytes], folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):  # an earlier page: what else is there stays
        for name, content in files.items():
            write_whole(content, folder / name)
        return
    with complete_or_absent(folder, last="index.html") as draft:
        for name, content in files.items():
            write_whole(content, draft / name)


def _how_to_complete(folder: Path) -> str:
    return (
        f"put {', '.join(RUNTIME)} of the npm package onnxruntime-web into {folder}, or give "
        "onnxruntime_web= its folder dist"
    )


def _smaller(
    model: bytes, detector: DenseDetector, wanted: Wanted, data: Data, sides: Sides, most: int
) -> tuple[Built, str]:
    """Return a file in fewer bits, and its AP beside that of its detector, for people.

    Raises:
        UserError: if its AP is lower by more than ``ALLOWED``; the layers that differ are named.
    """
    assert data.module is not None and data.split is not None
    half = wanted.precision == "fp16"
    smaller, train = model, data.module.train
    pixels = data.module.max_pixels
    if not half:
        calibrated = planes_of(train, sides, pixels, train.evenly(CALIBRATED_ON))
        smaller = in_int8(model, calibrated)
    built = SMALLER[wanted.suffix](smaller, half)
    finders = (by_torch(detector), by_file(built.run))
    (whole, less), count = average_precisions(finders, data.module, data.split, sides, most)
    said = f"AP {less:.3f}, {whole:.3f} in torch, on {count} images of {data.split.name}"
    if not whole > 0:
        raise UserError(f"precision={wanted.precision}: {said}, which tells nothing; train first")
    if less < whole - ALLOWED:
        few = planes_of(train, sides, pixels, train.evenly(4))
        blamed = layers_to_blame(model, in_float16(model) if half else smaller, few)
        layers = ", ".join(f"{layer} ({share:.0%})" for layer, share in blamed)
        raise UserError(
            f"precision={wanted.precision}: {said}, more than {ALLOWED} below, so nothing is "
            f"written; layers whose answers differ most: {layers}"
        )
    return built, said


@dataclass(frozen=True)
class Data:
    """The data set of a checkpoint, as far as it is there.

    Attributes:
        module: its data module; None: there is none.
        split: that the detector is measured on; None: it is not there.
        missing: why not; empty where drawn images are what it would hold.
    """

    module: DetectionDataModule | None
    split: DataSplit | None
    missing: str = ""

    @classmethod
    def of(cls, config: DictConfig, detector: DenseDetector, needed: str | None) -> Data:
        """Return the data that a configuration names.

        Args:
            config: of the command.
            detector: says which classes there are.
            needed: the word that cannot do without; None: drawn images will do.

        Raises:
            UserError: if they are needed, or the user named them, and they cannot be read.
        """
        try:
            if config.get("data") is None:
                raise UserError("the checkpoint does not say which data")
            module = make_datamodule(config)
            return cls(module, split_of(module, detector, draw=needed is not None))
        except UserError as error:
            if needed is not None:
                raise UserError(
                    f"{needed}: AP is measured before anything is written, and the data cannot be "
                    f"had: {error}; give data=NAME and data.root=DIR"
                ) from error
            if config.get("data") is not None and _named_by_user():
                raise
            return cls(None, None, str(error))


def _named_by_user() -> bool:
    choice: Any = HydraConfig.get().runtime.choices.get("data")
    return choice != FROM_CHECKPOINT or any(key.startswith("data.") for key in given_words())


def _compared(detector: DenseDetector, built: Built, data: Data, sides: Sides) -> str:
    """Hold a file against its detector, and return how they compare, for people."""
    pictures, where = drawn_pictures(sides), "drawn images"
    if data.split is not None and data.module is not None:
        own = pictures_of(data.split, sides, data.module.max_pixels)
        # Where there are too few, drawn ones make up the number.
        pictures, where = islice(chain(own, pictures), NUMBER), f"images of {data.split.name}"
        if len(data.split) < NUMBER:
            where += " and drawn ones"
    elif data.missing:
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
