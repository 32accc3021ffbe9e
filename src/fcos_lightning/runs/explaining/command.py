"""Reads data and checkpoint, has them looked at, and says what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.decoders.centernet import PeakDecoder
from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.lookup import made, part_of
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.errors import UserError
from fcos_lightning.explanation.looking import Onlooker
from fcos_lightning.explanation.settings import Setting, mapping_of, one_changed, target_of
from fcos_lightning.inference.devices import chosen_device
from fcos_lightning.inference.folded import for_inference
from fcos_lightning.printing import LONGEST_LINE, grouped, printable, some_of
from fcos_lightning.reports.explain.explain import (
    NUMBERS,
    PAGE,
    Asked,
    write_explanation,
)
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.config.kinds import check_kinds
from fcos_lightning.runs.evaluating.evaluation_settings import sized_as_trained
from fcos_lightning.runs.explaining.methods import choices_of, other_methods
from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_stopped
from fcos_lightning.runs.objects.detectors import detector_from, untrained_detector
from fcos_lightning.runs.session import make_datamodule, quiet
from fcos_lightning.storage.bars import counting_bar
from fcos_lightning.storage.folders import complete_or_absent

_SPLITS = ("train", "val", "test")
#: So many images the detector looks at unless it is told: enough for shares of some percent, and
#: minutes where all of COCO's would be hours on a processor.
_LOOKED_AT = 500


def carried_out(config: DictConfig) -> None:
    """Explain what a configuration asks for, and say where the page is.

    Raises:
        UserError: if something of the configuration, the data or the checkpoint does not fit.
    """
    check_kinds(config)
    _check(config)
    quiet()
    checkpoint = None
    if config.ckpt is not None:
        checkpoint = Checkpoint.read(str(config.ckpt), config.recipe)
        sized_as_trained(config, checkpoint.about, given_words())
    datamodule = make_datamodule(config)
    if checkpoint is None:
        split = _split(config, datamodule, None)
        detector = untrained_detector(config, split)
    else:
        detector = _trained(checkpoint, config)
        split = _split(config, datamodule, detector)
    if not len(split.truth.labels):
        raise UserError(f"split {split.name} has no boxes, so there is nothing to explain")
    base = _setting(detector, datamodule, _method(config, detector))
    if checkpoint is None and base.mapping.assigner.needs_prediction:
        raise UserError(
            f"method={base.method}: which points answer for a box depends on what the detector "
            "predicts; give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
        )
    onlooker = Onlooker(
        split,
        ignore=datamodule.ignore == "points",
        detector=None if checkpoint is None else _quick(detector, config.device),
        threshold=float(config.score_threshold),
        max_pixels=datamodule.max_pixels,
    )
    others = other_methods(base, detector, _chosen("model"))
    looked_at = split.evenly(_LOOKED_AT if config.limit is None else config.limit)
    fixed = checkpoint is None or not base.mapping.assigner.needs_prediction
    asked = Asked(
        onlooker=onlooker,
        settings=list(one_changed(base, others)),
        images=split.evenly(config.limit) if fixed else looked_at,
        files=[str(file) for file in config.files],
        count=config.images,
        skip=datamodule.on_bad_image == "skip",
        title=_title(checkpoint, split),
        remarks=[
            *_remarks(detector, checkpoint is not None, others),
            *(() if checkpoint is None else _sample(len(looked_at), len(split))),
        ],
        predicted=looked_at,
    )
    made = new_levels(None) if config.run_dir is None else 0
    folder = new_run_folder(config.run_dir, config.name)
    with (
        removed_if_stopped(folder, made),
        complete_or_absent(folder, last=PAGE) as draft,
    ):
        numbers = write_explanation(asked, draft, _counted)
    _tell(numbers, split)
    print(printable(f"{PAGE} and {NUMBERS} in {folder}", LONGEST_LINE))


def _check(config: DictConfig) -> None:
    if config.split not in ("auto", *_SPLITS):
        raise UserError(f"split={config.split}: give auto, train, val or test")
    for key, value in (("images", config.images), ("limit", config.limit)):
        if value is not None and value < 1:
            raise UserError(f"{key}={value}: give 1 or more")
    if not 0 <= config.score_threshold <= 1:
        raise UserError(f"score_threshold={config.score_threshold}: give a number in [0, 1]")


def _split(
    config: DictConfig, datamodule: DetectionDataModule, detector: DenseDetector | None
) -> DataSplit:
    """Read the split that is explained.

    Raises:
        UserError: if there is none, it has no annotations, or other classes than the checkpoint.
    """
    wanted = config.split
    if wanted == "auto":
        wanted = "train" if detector is None else "val"
    if detector is not None and wanted == "val":
        if detector.class_names is None or detector.category_ids is None:
            raise UserError(
                f"ckpt={config.ckpt}: it does not name its classes, so no box is one of them"
            )
        split: DataSplit | None = datamodule.read_val(detector.class_names, detector.category_ids)
    else:
        split = getattr(datamodule, wanted)
    if split is None:
        raise UserError(f"split={wanted}: these data have none; give train or val")
    if not split.annotated:
        raise UserError(f"split {split.name} has no annotations, so there is nothing to explain")
    if detector is not None and split.truth.class_names != detector.class_names:
        raise UserError(
            f"split={wanted}: its classes are {some_of(split.truth.class_names, 4)}, those of the "
            f"checkpoint {some_of(detector.class_names or ('unknown',), 4)}; give other data"
        )
    return split


def _trained(checkpoint: Checkpoint, config: DictConfig) -> DenseDetector:
    """Return the detector of a checkpoint, with the mapping that the command line asks for."""
    detector = detector_from(checkpoint, config, instead=("assigner",))
    given = given_words()
    options = {
        key.removeprefix("model.assigner."): OmegaConf.select(config, key)
        for key in given
        if key.startswith("model.assigner.")
    }
    chosen = _chosen("method")
    other = chosen is not None and chosen != choices_of(checkpoint).get("method", "fcos")
    if not options and not other:
        return detector
    spec: Any = detector.assigner.spec()
    if other:
        grid: Any = OmegaConf.to_container(config.model.grid, resolve=True)
        if _anchors(detector.grid) != _anchors(made(Grid, grid, strides=detector.strides)):
            raise UserError(
                f"method={chosen}: it maps anchors that are not those at which the checkpoint "
                "predicts; leave method= out, or ckpt="
            )
        spec = OmegaConf.to_container(config.model.assigner, resolve=True)
    plain = {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key, value in options.items()
    }
    detector.assigner = part_of(Assigner, {**spec, **plain})
    detector.assigner.check(detector.strides)
    return detector


def _anchors(grid: Grid) -> list[Any]:
    wanted = (grid.anchor_scales, grid.anchor_ratios, grid.square_scales)
    return [grid.per_cell, *(list(one) for one in wanted)]


def _chosen(group: str) -> str | None:
    """Return the file of a group that was chosen, by the user or with the checkpoint."""
    if not HydraConfig.initialized():
        return None
    chosen = HydraConfig.get().runtime.choices.get(group)
    return None if chosen is None else str(chosen)


def _method(config: DictConfig, detector: DenseDetector) -> str:
    """Return the name of the mapping, for people."""
    chosen = _chosen("method")
    return chosen or detector.assigner.name or type(detector.assigner).__name__


def _remarks(detector: DenseDetector, predicted: bool, others: Mapping[str, Setting]) -> list[str]:
    """Return in sentences what cannot be shown, or is not what it is elsewhere."""
    remarks = []
    if predicted and isinstance(detector.decoder, PeakDecoder):
        remarks.append(
            "This method has no NMS: a point whose neighbour says more of the same class is no "
            "detection, and counts as suppressed by it."
        )
    elif predicted and not isinstance(detector.decoder, NMSDecoder):
        remarks.append(
            f"The decoder {type(detector.decoder).__name__} does not say what it leaves out, so "
            "that only what the label mapping explains is explained."
        )
    if detector.assigner.needs_prediction:
        remarks.append(
            "Which points answer for a box, or how much, depends here on what the detector "
            "predicts: this is the mapping as the checkpoint would learn on."
        )
    if not others:
        remarks.append("Other methods are not shown beside it: the net is code of its own.")
    elif not predicted:
        remarks.append("Methods that look at predictions are shown with a checkpoint only.")
    return remarks


def _sample(looked_at: int, images: int) -> Iterator[str]:
    if looked_at < images:
        yield (
            f"The detector looked at {grouped(looked_at)} of {grouped(images)} images, evenly over "
            f"the data; limit={images} has it look at all."
        )


def _setting(detector: DenseDetector, datamodule: DetectionDataModule, method: str) -> Setting:
    return Setting(
        mapping_of(detector),
        datamodule.shorter_side,
        datamodule.longer_side,
        target_of(detector),
        method,
    )


def _quick(detector: DenseDetector, device: str) -> DenseDetector:
    where = chosen_device(device)
    return for_inference(detector, device=where).to(where)


def _title(checkpoint: Checkpoint | None, split: DataSplit) -> str:
    if checkpoint is None:
        return split.name
    return f"{split.name}, {'/'.join(checkpoint.path.absolute().parts[-4:])}"


def _counted(images: Sequence[int], what: str) -> Iterator[int]:
    """Go through images, and show on a terminal how far it is."""
    with counting_bar(what, len(images)) as one_done:
        for image in images:
            yield image
            one_done()


def _tell(numbers: dict[str, Any], split: DataSplit) -> None:
    """Print the figures that matter most."""
    mapping, missed = numbers["mapping"], numbers["missed"]
    for file in numbers["unreadable"]:
        print(f"could not be read and was passed over: {printable(file)}", file=sys.stderr)
    for note in split.notes():
        print(printable(f"{split.name}: {note}", LONGEST_LINE))
    answered = mapping["boxes"] - mapping["unanswered"]
    ambiguous = mapping["ambiguous_share"]
    print(
        printable(
            f"{split.name}: {mapping['images']} images; points answer for {answered} of "
            f"{mapping['boxes']} boxes"
            + (f"; {ambiguous:.2%} of those points are ambiguous" if ambiguous is not None else ""),
            LONGEST_LINE,
        )
    )
    if missed is not None:
        reasons = ", ".join(
            f"{row['meaning'].split(':')[0]} {row['count']}"
            for row in missed["reasons"]
            if row["count"]
        )
        print(
            f"missed at score {missed['threshold']:g}: {missed['missed']} of {missed['objects']}"
            + (f" ({reasons})" if reasons else "")
        )
        for sentence in _sample(missed["images"] + len(numbers["unreadable"]), len(split)):
            print(sentence)
