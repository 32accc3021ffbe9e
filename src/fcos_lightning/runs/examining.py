"""``fcos-doctor`` from its configuration: the data set, how it would be learnt, what is wrong."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data.splits import Classes
from fcos_lightning.detector import DenseDetector
from fcos_lightning.doctor.examine import assign, bytes_afar, found, look_at_files, read_sets
from fcos_lightning.doctor.findings import Diagnosis
from fcos_lightning.doctor.judging import in_numbers, judge
from fcos_lightning.doctor.learning import Learning
from fcos_lightning.doctor.output import numbers_of, print_diagnosis
from fcos_lightning.doctor.showing import doctor_page, most_shots
from fcos_lightning.doctor.sizing import advice_on_sizes, sizes_tried
from fcos_lightning.errors import UserError
from fcos_lightning.inference import Predictor
from fcos_lightning.inference.asked import sides_of
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.reports.page import json_text
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.config.kinds import check_kinds
from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_stopped
from fcos_lightning.runs.objects.detectors import detector_from
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.runs.session import make_datamodule, quiet
from fcos_lightning.storage.bars import counting_bar, readable_size
from fcos_lightning.storage.folders import complete_or_absent
from fcos_lightning.storage.replacing import write_whole

#: Names of what is written.
NUMBERS, PAGE = "doctor.json", "doctor.html"


def examined(config: DictConfig) -> int:
    """Look at a data set, write and print what is wrong, and return the exit status.

    Raises:
        UserError: if the data set, or the checkpoint, cannot be read at all.
    """
    check_kinds(config)
    quiet()
    predictor, checkpoint = None, None
    if config.ckpt is not None:
        checkpoint = Checkpoint.read(str(config.ckpt), config.recipe)
        predictor = _predictor(config, checkpoint)
    datamodule = make_datamodule(config)
    datamodule.strict = False  # what it would refuse is a finding
    if hasattr(datamodule, "cache"):
        datamodule.cache = False  # it does not know of what was left out
    data = read_sets(datamodule, _classes(predictor))
    how = learning_of(config, predictor)
    made = new_levels(None) if config.run_dir is None else 0
    folder = new_run_folder(config.run_dir, config.name)
    with removed_if_stopped(folder, made):
        total = sum(len(one.split) for one in data.sets)
        if to_read := bytes_afar(data):
            print(f"reading {readable_size(to_read)} of images from {data.address}", flush=True)
        with counting_bar("images", total) as advance:
            data = look_at_files(data, advance)
        data = assign(data, how)
        more: dict[str, Any] = {}
        if predictor is not None:
            with counting_bar("detections", total) as advance:
                data = judge(data, predictor, advance)
            more["labels"] = in_numbers(data)
        advice: tuple[str, ...] = ()
        if data.learnt is not None:
            tried = sizes_tried(data.train.split, how)
            more["sizes"] = [vars(one) for one in tried]
            advice = tuple(advice_on_sizes(data.train.split, how, data.learnt, tried))
        diagnosis = Diagnosis(found(data), advice)
        status = diagnosis.status(bool(config.strict))
        layout = datamodule.found or type(datamodule).__name__
        numbers = numbers_of(data, diagnosis, layout, status, more)
        files = {NUMBERS: json_text(numbers)}
        if config.page:
            with counting_bar("page", most_shots(diagnosis)) as advance:
                files[PAGE] = doctor_page(data, diagnosis, numbers, advance)
        with complete_or_absent(folder, last=NUMBERS) as draft:
            for name, text in files.items():
                write_whole(text, draft / name)
    print(printable(f"data: {layout}", LONGEST_LINE))
    for one in data.sets:
        print(printable(f"{one.role}: {one.name}, {len(one.split)} images", LONGEST_LINE))
    print_diagnosis(data, diagnosis, Console())
    written = " and ".join(files)
    print(printable(f"doctor: {diagnosis.in_words()}; {written} in {folder}", LONGEST_LINE))
    return status


def _predictor(config: DictConfig, checkpoint: Checkpoint) -> Predictor:
    """Return what finds objects, at the size that the checkpoint or the command line says."""
    given = given_words()
    sides = {
        side: config.data.get(side) if f"data.{side}" in given else None
        for side in ("shorter_side", "longer_side")
    }
    shorter_side, longer_side = sides_of(checkpoint, **sides)
    detector = detector_from(checkpoint, config)
    if detector.class_names is None or detector.category_ids is None:
        raise UserError(f"ckpt={checkpoint.path}: it does not name its classes")
    return Predictor(detector, shorter_side, longer_side, device=config.device)


def _classes(predictor: Predictor | None) -> Classes | None:
    if predictor is None:
        return None
    detector = predictor.detector
    assert detector.class_names is not None and detector.category_ids is not None
    return Classes(tuple(detector.class_names), tuple(detector.category_ids))


def learning_of(config: DictConfig, predictor: Predictor | None = None) -> Learning:
    """Return how it would be learnt: as the checkpoint was, or as the configuration says.

    Args:
        config: of the command.
        predictor: of the checkpoint; None: there is none.
    """
    if predictor is not None:
        detector, sides = predictor.detector, (predictor.shorter_side, predictor.longer_side)
        assert isinstance(detector, DenseDetector)  # as ``_predictor`` gives it
        return Learning(detector.grid, detector.assigner, *sides, detector.size_multiple)
    detector = _without_weights(config)
    finer = None
    levels = OmegaConf.select(config, "model.fpn.levels")
    if levels and detector.strides[0] > 4:
        longer = copy.deepcopy(config)
        longer.model.fpn.levels = [int(levels[0]) - 1, *levels]
        with suppress(UserError):  # of a backbone or a method that has no such level
            finer = _without_weights(longer).grid
    sides = (int(config.data.shorter_side), int(config.data.longer_side))
    return Learning(detector.grid, detector.assigner, *sides, detector.size_multiple, finer)


def _without_weights(config: DictConfig) -> DenseDetector:
    """Return a detector that is a plan alone: no weights are read, fetched or made."""
    config = copy.deepcopy(config)
    if OmegaConf.is_dict(config.model.get("backbone")) and "weights" in config.model.backbone:
        config.model.backbone.weights = None
    with torch.device("meta"):
        detector = make(config, "model", num_classes=1)
    if not isinstance(detector, DenseDetector):
        raise UserError(f"model._target_ gives a {type(detector).__name__}, not a detector")
    return detector
