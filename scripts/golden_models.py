"""Detectors loaded from checkpoints against the golden outputs of the sources' own code."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcos_lightning import load_detector
from fcos_lightning.structures import Detections
from plain_sources.detectors import Outputs, run
from plain_sources.difference import Difference, by_point, difference
from plain_sources.operations import Weights
from plain_sources.published import GOLDEN, RECIPES
from plain_sources.texts import TEXTS


@dataclass(frozen=True)
class Source:
    """How the golden outputs of a source are written down.

    Attributes:
        level: under which its files have weights.
        in_strides: whether distances are in strides; else in pixels.
        first_label: of its classes.
        decoder: in which the golden outputs differ from the source, whose compiled NMS was
            replaced by torchvision's: that counts no pixel more.
    """

    level: str = "model"
    in_strides: bool = False
    first_label: int = 0
    decoder: dict[str, Any] | None = None


SOURCES = {
    "official": Source(first_label=1, decoder={"nms_sides": "plain"}),
    "adelaidet": Source(in_strides=True),
    "mmdet": Source("state_dict"),
    "mmdet2": Source("state_dict"),
    "detectron2": Source(in_strides=True),
    "rosinality": Source(first_label=1),
}


def golden_files(folder: Path) -> list[Path]:
    """Return the files that hold the outputs of a published model."""
    files = sorted(folder.rglob("*.pt"))
    return [file for file in files if file.name.split("_", 1)[0] in SOURCES]


def compare_golden(file: Path, checkpoint: Path) -> Difference:
    """Write the checkpoint of a golden file and compare the detector loaded from it.

    Args:
        file: of golden outputs.
        checkpoint: where its weights shall be written.
    """
    golden = torch.load(file, weights_only=True)
    name = file.stem.split("_", 1)[0]
    source, text = SOURCES[name], TEXTS.get(file.stem)
    content: dict[str, Any] = {source.level: _seeded(file, golden)}
    torch.save(content | ({"meta": {"config": text}} if text else {}), checkpoint)
    detector = load_detector(checkpoint, recipe=RECIPES.get(file.stem), decoder=source.decoder)
    prediction = detector.predict(golden["images"])
    given = prediction.cls_logits, prediction.ltrb_px, prediction.quality_logits
    return _from_golden(name, golden, *given, detector.detect(golden["images"]))


def compare_plain_with_golden(file: Path) -> Difference:
    """Compare a plain re-implementation with the golden outputs, for all of the source's keys.

    Raises:
        ValueError: if it does not ask for one of the source's keys.
    """
    golden = torch.load(file, weights_only=True)
    weights = Weights(_seeded(file, golden))
    outputs = run(GOLDEN[file.stem], weights, golden["images"])
    if unasked := set(golden["keys"]) - set(weights.asked):
        raise ValueError(f"{file.name}: nothing asks for {sorted(unasked)}")
    source = file.stem.split("_", 1)[0]
    found = [Detections(*one) for one in outputs.found]
    return _from_golden(source, golden, *flat(outputs), found)


def flat(outputs: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    """Return class logits, distances and quality logits by point, of all levels."""
    maps = outputs.cls, outputs.ltrb_px, outputs.quality
    cls, ltrb_px, quality = (by_point(part) for part in maps)
    return cls, ltrb_px, quality.squeeze(-1)


def _from_golden(
    source: str,
    golden: dict[str, Any],
    cls: Tensor,
    ltrb_px: Tensor,
    quality: Tensor,
    found: list[Detections],
) -> Difference:
    written = SOURCES[source]
    units = [8, 16, 32, 64, 128] if written.in_strides else [1] * 5
    ltrb = [part * unit for part, unit in zip(golden["reg"], units, strict=False)]
    expected = [
        Detections(found["boxes"], found["scores"], found["labels"] - written.first_label)
        for found in golden["det"]
    ]
    return difference(
        (source, golden["config"]),
        (cls, by_point(golden["cls"])),
        (ltrb_px, by_point(ltrb)),
        (quality, by_point(golden["ctr"]).squeeze(-1)),
        (found, expected),
    )


def _seeded(file: Path, golden: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights that the golden outputs were computed with."""
    beside = [folder / at for folder in file.parents for at in ("", "golden")]
    script = next(p for at in beside if (p := at / "seeded_weights.py").is_file())
    spec = importlib.util.spec_from_file_location("seeded_weights", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Tensor] = module.seeded_weights(golden["keys"])
    return made
