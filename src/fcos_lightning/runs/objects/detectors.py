"""The detector of a checkpoint, with the parts of the user's own that the command line names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import given_words
from fcos_lightning.runs.config.opaque import opaque
from fcos_lightning.runs.objects.instantiate import check_part, make

if TYPE_CHECKING:
    from fcos_lightning.inference.engines.file_detector import FileDetector

#: What makes a detector of ours of its parts.
_BUILDERS = ("fcos_lightning.build_detector", "fcos_lightning.build_fcos")
#: What makes one of another one's checkpoint.
_LIKENESS = "build_like"
_CLASSES = ("num_classes", "class_names", "category_ids")
_PARTS = ("backbone", "fpn", "head", "assigner", "loss", "decoder")


def detector_from(
    checkpoint: Checkpoint, config: DictConfig, instead: Container[str] = ()
) -> DenseDetector:
    """Return the detector in evaluation mode, on the processor.

    What belongs to the detector comes from the checkpoint. Of ``model=`` and ``method=`` only
    those parts are taken that are code of the user's own, which no checkpoint carries.

    Args:
        checkpoint: that was read.
        config: of the command: ``model`` (may be null) and, where it has it, ``decoder`` (options
            instead of the checkpoint's).
        instead: keys of parts of which the command itself takes others than the checkpoint's.

    Raises:
        UserError: if a part is missing, or the weights do not fit.
    """
    options = {k: v for k, v in (config.get("decoder") or {}).items() if v is not None}
    given: dict[str, Any] = {"decoder": options or None}
    model: Any = check_part(config, "model") or {}
    if _is_likeness(model.get("_target_")):
        raise UserError("model=as_init: the detector comes from ckpt=; leave the model out")
    if model.get("_target_") not in (None, *_BUILDERS):
        if options:
            key = min(options)
            raise UserError(
                f"decoder.{key}= is the checkpoint's; with model= use model.decoder.{key}="
            )
        names, ids = (checkpoint.spec.get(key) for key in ("class_names", "category_ids"))
        detector = make(config, "model", class_names=names, category_ids=ids)
        if not isinstance(detector, DenseDetector):
            raise UserError(f"model._target_ gives a {type(detector).__name__}, not a detector")
        checkpoint.fill(detector)
        return detector.eval()
    own = [k for k in _PARTS if isinstance(model.get(k), dict) and "_target_" in model[k]]
    for key in given_words():
        part, _, option = key.removeprefix("model.").partition(".")
        if key.startswith("model.") and part not in own and part not in instead:
            hint = f"decoder.{option}= changes this choice" if part == "decoder" else ""
            raise UserError(
                f"{key}: the detector comes from the checkpoint, this with it; "
                f"{hint or 'leave it out'}"
            )
    for key in own:
        given[key] = make(config.model, key)
    return checkpoint.detector(**given)


def on_backend(
    detector: DenseDetector,
    backend: str,
    sides: Mapping[str, int | None],
    device: str = "auto",
    callers: int = 1,
) -> tuple[DenseDetector, bytes | None]:
    """Return a detector on what is to run it, and the ONNX model that it runs by, if any.

    Args:
        detector: of a checkpoint.
        backend: one of ``BACKENDS``.
        sides: see ``on_engine``.
        device: for an engine, see ``on_engine``.
        callers: likewise.

    Raises:
        UserError: see ``on_engine``.
    """
    if backend == "torch":
        return detector, None
    from fcos_lightning.inference.engines.kept import on_engine

    return on_engine(detector, backend, device, sides, callers)


def converted_from(path: str, backend: str, device: str, callers: int = 1) -> FileDetector:
    """Return the detector of a converted file, where nothing is asked that it has settled.

    Args:
        path: of the file.
        backend: one of ``BACKENDS``.
        device: see ``open_file``.
        callers: likewise.

    Raises:
        UserError: if something is, or it cannot be opened.
    """
    from fcos_lightning.inference.engines.opening import open_file, refuse_settled

    settled = ("decoder", "recipe", "channels_last", "model", "method")
    refuse_settled(path, [key for key in given_words() if key.split(".")[0] in settled])
    return open_file(path, backend, device, callers)


def write_out_model(config: DictConfig, detector: DenseDetector) -> None:
    """Let a configuration say itself what a detector is made of that is made like a checkpoint's.

    A run is gone on with where that checkpoint is no more.

    Args:
        config: of the run; changed in place.
        detector: that it describes.
    """
    if not _is_likeness(config.model.get("_target_")):
        return
    spec = {key: value for key, value in detector.spec.items() if key not in _CLASSES}
    config.model = opaque({"_target_": _BUILDERS[0], **spec})


def refuse_likeness(tree: object, folder: Path) -> None:
    """Refuse a stored configuration that would read a checkpoint elsewhere; no run writes one.

    Args:
        tree: the configuration, or a part of it.
        folder: of the run.

    Raises:
        UserError: if anything in it is made like a checkpoint.
    """
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    if isinstance(tree, dict) and _is_likeness(tree.get("_target_")):
        raise UserError(
            f"resume={folder}: its config.yaml has something made like a checkpoint elsewhere, "
            "which no run writes there; start a new run with init_from=CHECKPOINT"
        )
    for one in inner:
        refuse_likeness(one, folder)


def _is_likeness(target: object) -> bool:
    """Tell what makes a detector like a checkpoint's, in whichever module it is looked up."""
    return isinstance(target, str) and target.rpartition(".")[2] == _LIKENESS


def untrained_detector(config: DictConfig, split: DataSplit) -> DenseDetector:
    """Return the detector of a configuration, without any weight: its tensors are shapes alone."""
    if "backbone" in config.model and config.model.backbone is not None:
        config.model.backbone.weights = None
    truth = split.truth
    with torch.device("meta"):
        detector = make(
            config, "model", class_names=truth.class_names, category_ids=truth.category_ids
        )
    if not isinstance(detector, DenseDetector):
        raise UserError(f"model._target_ gives a {type(detector).__name__}, not a detector")
    return detector
