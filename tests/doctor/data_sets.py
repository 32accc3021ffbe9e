"""Tiny data sets with one thing wrong, and one that is clean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcos_lightning.data import AutoDataModule
from fcos_lightning.doctor.check import Examined
from fcos_lightning.doctor.examine import found, look_at_files, read_sets
from fcos_lightning.doctor.findings import Finding, Kind

SIZE = (96, 64)
#: Things that any tiny data set has, and that say nothing.
SMALL = ("class.rare", "image.no_objects")


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture unlike others: large patches of random colours."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


@dataclass
class CocoSet:
    """A set of a COCO data set, of which anything can be changed before it is written.

    Attributes:
        name: of its folder and file.
        images: file name to size as annotated.
        boxes: file name, category id, and bbox.
        categories: names by id.
    """

    name: str
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    boxes: list[tuple[str, int, Sequence[float]]] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=lambda: {1: "cat", 2: "dog"})
    more: dict[str, Any] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Write the JSON; the pictures are there already."""
        numbers = {name: number for number, name in enumerate(self.images, start=1)}
        tree = {
            "images": [
                {"id": numbers[name], "file_name": name, "width": size[0], "height": size[1]}
                for name, size in self.images.items()
            ],
            "annotations": [
                {"id": i, "image_id": numbers[name], "category_id": kind, "bbox": list(bbox)}
                for i, (name, kind, bbox) in enumerate(self.boxes, start=1)
            ],
            "categories": [{"id": i, "name": name} for i, name in self.categories.items()],
            **self.more,
        }
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / f"annotations/instances_{self.name}.json").write_text(json.dumps(tree))


@dataclass
class Scene:
    """A clean data set of two sets; change what is wanted, then ``examine``."""

    root: Path
    train: CocoSet
    val: CocoSet

    def file(self, name: str, of: str = "train") -> Path:
        """Where a picture lies."""
        return self.root / of / name

    def add(self, of: CocoSet, name: str, image: Image.Image, *boxes: Sequence[float]) -> Path:
        """Add a picture with its boxes of class 1."""
        path = self.file(name, of.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        of.images[name] = image.size
        of.boxes += [(name, 1, box) for box in boxes]
        return path

    def examine(self) -> dict[str, Kind]:
        """Write, read and look at it: kinds by their codes."""
        for one in (self.train, self.val):
            one.write(self.root)
        return examine(self.root)


def clean(root: Path) -> Scene:
    """A data set in which nothing is wrong."""
    scene = Scene(root, CocoSet("train"), CocoSet("val"))
    for number in range(4):
        scene.add(scene.train, f"t{number}.png", picture(number), [5, 5, 30, 40])
        scene.train.boxes.append((f"t{number}.png", 2, [45, 10, 40, 40]))
    for number in range(2):
        scene.add(scene.val, f"v{number}.png", picture(100 + number), [8, 8, 40, 30])
        scene.val.boxes.append((f"v{number}.png", 2, [50, 20, 30, 30]))
    return scene


def looked_at(root: Path, advance: Callable[[], None] = lambda: None, **options: Any) -> Examined:
    """Read a data set of any layout, and look at its files."""
    data = AutoDataModule(root, cache=False, **options)
    return look_at_files(read_sets(data), advance)


def examine(root: Path, **options: Any) -> dict[str, Kind]:
    """Ask every check about a data set of any layout: kinds by their codes."""
    return {kind.code: kind for kind in found(looked_at(root, **options))}


def only(kinds: dict[str, Kind], *more: str) -> Kind:
    """The one kind there is, beside those that tiny data sets have and ``more``."""
    (kind,) = [kind for code, kind in kinds.items() if code not in (*SMALL, *more)]
    return kind


def one(kind: Kind) -> Finding:
    """The one finding of a kind."""
    (finding,) = kind.kept
    assert kind.count == 1
    return finding
