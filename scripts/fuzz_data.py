#!/usr/bin/env python
"""Read damaged and odd annotation files by the thousand: python scripts/fuzz_data.py coco 3000 1.

Every file has to be read, or be refused by one line that can be printed. What is read has to keep
its promises: finite boxes inside numbers that training has too, every annotation kept or counted,
the quick reader of COCO's format and the plain one of one mind. Status 1 if any file did worse.
The same count and seed make the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fcos_lightning.data import (
    Augmentation,
    AutoDataModule,
    CsvDataModule,
    ShorterSide,
    YoloDataModule,
)
from fcos_lightning.data.batches.dataset import DetectionDataset
from fcos_lightning.data.readers import coco, coco_quick
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.readers.voc import read_voc
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import CHOICES_CHARACTERS, UserError
from fuzzing.coco import coco_file
from fuzzing.labels_csv import csv_file
from fuzzing.voc import voc_files
from fuzzing.yolo import yolo_files

#: A small file that takes longer, in seconds of the processor, holds something that blows up.
SLOW_S = 5.0
SIZE = (60, 40)
IMAGES = ("a.png", "b.png", "sub/c.png", "é.png")


@dataclass
class Report:
    """What happened to the files.

    Attributes:
        outcomes: how many were read and how many refused, and the images looked at.
        faults: what went wrong, by kind: the case's number and what was seen.
        slowest_s: of reading one file, in seconds of the processor.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    slowest_s: float = 0.0


class Checks:
    """Reads one case after the other and judges what comes of it.

    Args:
        report: takes what is found.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.case = 0
        self.augmentation = Augmentation([ShorterSide(32, 96)])

    def fault(self, kind: str, what: object) -> None:
        """Note what went wrong with the present case."""
        self.report.faults.append((kind, self.case, repr(what)[:300]))

    def read(self, reader: Callable[[], DataSplit]) -> DataSplit | str | None:
        """Return the split or the message; None after a fault."""
        began = time.process_time()
        try:
            result: DataSplit | str | None = reader()
        except UserError as error:
            result = str(error)
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.fault("exception", f"{error!r} in {last.name}, line {last.lineno}")
            result = None
        seconds = time.process_time() - began
        self.report.slowest_s = max(self.report.slowest_s, seconds)
        if seconds > SLOW_S:
            self.fault("slow", f"{seconds:.1f} s")
        return result

    def judge(self, result: DataSplit | str | None) -> None:
        """Look at what one file gave."""
        if isinstance(result, str):
            self.report.outcomes["refused"] += 1
            if not result.isprintable() or len(result) > CHOICES_CHARACTERS:
                self.fault("message", result)
        elif result is not None:
            self.report.outcomes["read"] += 1
            self._truth(result)
            self._images(result)

    def counted(self, split: DataSplit, annotations: int) -> None:
        """Every annotation of the file is there or was counted."""
        there = len(split.truth.labels) + sum(split.dropped.values())
        if there != annotations:
            self.fault("not counted", f"{there} of {annotations}")

    def _truth(self, split: DataSplit) -> None:
        truth = split.truth
        boxes, areas = truth.boxes_xyxy, truth.areas_px
        sizes = np.repeat(truth.sizes_hw[:, ::-1], np.diff(truth.first_box), axis=0)
        sound = np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        sound &= bool((boxes[:, 2:] > 0).all() and (boxes[:, :2] < sizes).all())
        if not sound or not np.isfinite(boxes.astype(np.float32)).all():
            self.fault("boxes", boxes.tolist())
        if not np.isfinite(areas).all() or (areas < 0).any():
            self.fault("areas", areas.tolist())
        try:
            texts = [*truth.class_names, *truth.file_names.tolist(), *split.remarks]
            json.dumps(texts, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            self.fault("names", error)

    def _images(self, split: DataSplit) -> None:
        """Train on and evaluate every image."""
        for training, on_bad_image in ((True, "error"), (False, "skip")):
            dataset = DetectionDataset(
                split,
                self.augmentation,
                on_bad_image=on_bad_image,  # type: ignore[arg-type]
                training=training,
            )
            for image in range(len(split)):
                self.report.outcomes["images"] += 1
                try:
                    sample = dataset[0, image]
                except UserError as error:
                    if not str(error).isprintable():
                        self.fault("message", str(error))
                    continue
                except BaseException as error:
                    self.fault("image", repr(error))
                    continue
                boxes = sample.target.boxes_xyxy
                height, width = sample.image.shape[1:]
                inside = (boxes >= 0).all() and (
                    boxes <= boxes.new_tensor([width, height] * 2)
                ).all()
                if not inside or max(height, width) > 200:
                    self.fault("sample", (sample.image.shape, boxes.tolist()))
                wanted = len(split.target(image)[0])
                if not sample.unreadable and len(boxes) + sample.dropped_boxes != wanted:
                    self.fault(
                        "boxes of training", f"{len(boxes)}, {sample.dropped_boxes}, {wanted}"
                    )


def fuzz_coco(folder: Path, count: int, seed: int) -> Report:
    """Read so many files of COCO's format."""
    report = Report()
    checks = Checks(report)
    images = folder / "images"
    draw(images)
    file = folder / "boxes.json"
    for checks.case in range(count):
        chance = random.Random(f"{seed} {checks.case}")
        file.write_bytes(coco_file(chance, checks.case))
        strict = chance.random() < 0.3
        piece_bytes = chance.choice([1, 16, 100, coco_quick.PIECE_BYTES])

        def read() -> DataSplit:
            return read_coco(file, images, strict=strict, cache=False)  # noqa: B023

        with patch.object(coco_quick, "PIECE_BYTES", piece_bytes):
            report.outcomes["quickly"] += coco_quick.read_quick(file) is not None
            result = checks.read(read)
        with patch.object(coco, "read_quick", lambda _: None):
            plain = checks.read(read)
        if facts(result) != facts(plain):
            checks.fault("readers differ", (facts(result), facts(plain)))
        checks.judge(result)
        if isinstance(result, DataSplit):
            checks.counted(result, annotations_in(file))
    return report


def annotations_in(file: Path) -> int:
    """Count the annotations of a file that was read."""
    content = file.read_bytes()
    text = content.decode(json.detect_encoding(content), "surrogateescape")
    listed: list[Any] = json.loads(text, parse_int=float).get("annotations", [])
    return len(listed)


def facts(result: DataSplit | str | None) -> object:
    """What two readers have to agree on."""
    if not isinstance(result, DataSplit):
        return result
    truth = result.truth
    arrays = (truth.image_ids, truth.file_names, truth.sizes_hw, truth.first_box, truth.labels)
    floats = [value.hex() for value in (*truth.boxes_xyxy.flat, *truth.areas_px.flat)]
    return (
        [array.tolist() for array in (*arrays, truth.ignored)],
        floats,
        (truth.class_names, truth.category_ids, dict(result.dropped), result.remarks),
    )


def fuzz_voc(folder: Path, count: int, seed: int) -> Report:
    """Read so many splits in VOC's layout."""
    report = Report()
    checks = Checks(report)
    draw(folder / "JPEGImages")
    for name in ("Annotations/sub", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    (folder / "outside.xml").write_text("<annotation/>")
    for checks.case in range(count):
        chance = random.Random(f"{seed} {checks.case}")
        for name, content in voc_files(chance, [Path(image).stem for image in IMAGES[:2]]).items():
            (folder / name).write_bytes(content)
        names = chance.choice([None, None, ("x", "y", "z")])
        strict = chance.random() < 0.2
        checks.judge(
            checks.read(lambda: read_voc(folder, "t", class_names=names, strict=strict))  # noqa: B023
        )
    return report


def fuzz_yolo(folder: Path, count: int, seed: int) -> Report:
    """Find and read so many sets of the YOLO family."""
    report = Report()
    checks = Checks(report)
    draw(folder / "images")
    (folder / "labels/sub").mkdir(parents=True)
    (folder / "labels/sub/c.txt").write_text("0 .5 .5 .5 .5\n")
    for checks.case in range(count):
        chance = random.Random(f"{seed} {checks.case}")
        for name, content in yolo_files(chance, [Path(image).stem for image in IMAGES[:2]]).items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                (folder / name).write_bytes(content)
        (folder / "images/link.png").unlink(missing_ok=True)
        if chance.random() < 0.05:
            os.symlink(folder / "outside.png", folder / "images/link.png")
        strict = chance.random() < 0.2
        checks.judge(checks.read(lambda: found(YoloDataModule(folder, strict=strict))))  # noqa: B023
    return report


def fuzz_csv(folder: Path, count: int, seed: int) -> Report:
    """Find and read so many tables of boxes."""
    report = Report()
    checks = Checks(report)
    draw(folder / "images")
    for checks.case in range(count):
        chance = random.Random(f"{seed} {checks.case}")
        (folder / "boxes.csv").write_bytes(csv_file(chance))
        strict = chance.random() < 0.2
        checks.judge(checks.read(lambda: found(CsvDataModule(folder, strict=strict))))  # noqa: B023
    return report


def found(data: AutoDataModule) -> DataSplit:
    """Read the set that a data module finds to learn from."""
    data.choose_splits()
    if data.found is None or not data.found.isprintable():
        raise RuntimeError(f"what is found is {data.found!r}")
    return data.read(data.train_split, None)


FUZZ = {"coco": fuzz_coco, "voc": fuzz_voc, "yolo": fuzz_yolo, "csv": fuzz_csv}


def draw(folder: Path) -> None:
    """Write the images that files may name, and some that they should not reach."""
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for name in IMAGES:
        Image.fromarray(pixels).save(folder / name)
    Image.fromarray(pixels).save(folder.parent / "outside.png")
    os.symlink(folder.parent / "outside.png", folder / "link.png")
    os.symlink("loop.png", folder / "loop.png")


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("format", choices=tuple(FUZZ))
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = FUZZ[given.format](Path(folder), given.count, given.seed)
    counts = ", ".join(f"{number} {what}" for what, number in report.outcomes.items())
    print(
        f"{given.format}, seed {given.seed}: {given.count} files, {counts}; slowest "
        f"{report.slowest_s:.2f} s; {len(report.faults)} faults"
    )
    for kind, case, what in report.faults[:40]:
        print(f"  case {case}, {kind}: {what}")
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
