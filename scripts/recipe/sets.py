"""The data sets that the recipe is found on, in COCO's layout below one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.session import make_datamodule
from fcos_lightning.storage.folders import complete_or_absent
from recipe import materials
from recipe.scenes import HEIGHT, WIDTH, Cut, Scene, compose, crop

TRAIN, VAL = 160, 80


@dataclass(frozen=True)
class Place:
    """Where a set lies, in words of a command line.

    Attributes:
        name: of the set.
        words: that choose it, and the size at which it is seen.
    """

    name: str
    words: tuple[str, ...]

    @classmethod
    def of_coco(cls, name: str, root: Path) -> Place:
        """Return a set in COCO's layout, with splits ``train`` and ``val``."""
        return cls(name, ("data=coco", f"data.root={root}", *SPLITS, *SIZE))


SPLITS = ("data.train_split=train", "data.val_split=val")
SIZE = (f"data.shorter_side={HEIGHT}", f"data.longer_side={WIDTH}")


def places(
    folder: Path, bccd: Path | None, coco: Path | None, clip_art: Path | None
) -> list[Place]:
    """Make the sets that are not there yet; return where all are.

    Args:
        folder: to hold them.
        bccd: the root of BCCD, VOC's layout, which is read where it is; None: left out.
        coco: the root of a small part of COCO, of whose ``train2017`` each half becomes a split;
            None: left out.
        clip_art: the folder of clip art; None: left out.
    """
    found = []
    if bccd is not None:
        splits = ("data.train_split=trainval", "data.val_split=test")
        found.append(Place("cells", ("data=voc", f"data.root={bccd}", *splits, *SIZE)))
    if coco is not None:
        found.append(_made(folder, "people", lambda draft: write_halves(coco, draft)))
    numbers = (f"data.train_images={TRAIN}", f"data.val_images={VAL}", f"data.image_px={HEIGHT}")
    drawn = ("data=shapes", f"data.root={folder / 'shapes'}", *numbers)
    found.append(Place("shapes", (*drawn, *SIZE)))
    found.append(_made(folder, "digits", write_digits))
    if clip_art is not None:
        found.append(_made(folder, "clipart", lambda draft: write_clip_art(clip_art, draft)))
    return found


def made_of_two(folder: Path, found: Sequence[Place]) -> Place:
    """Make a set of every second image of two others, on whose mean AP settings are searched.

    A search of ``fcos-train -m`` looks at one figure of one run. As AP is the mean over classes,
    that of both sets' classes together is the mean of both, weighted by their numbers of classes.

    Args:
        folder: of the sets.
        found: all sets; those are taken that have no two classes or pictures of a kind, ``cells``
            and ``clipart``, or else the last two.
    """
    preferred = [place for place in found if place.name in ("cells", "clipart")]
    two = preferred if len(preferred) == 2 else list(found)[-2:]
    return _made(folder, "two", lambda draft: write_union(two, draft))


def _made(folder: Path, name: str, write: Callable[[Path], None]) -> Place:
    root = folder / name
    if not root.exists():
        print(f"making {root}", flush=True)
        with complete_or_absent(root) as draft:
            write(draft)
    return Place.of_coco(name, root)


def write_digits(root: Path, train: int = TRAIN, val: int = VAL) -> None:
    """Write hand-written digits on photographs."""
    names = [f"digit {digit}" for digit in materials.DIGITS]
    for split, number, count in (("train", 0, train), ("val", 1, val)):
        pick = materials.digits(split)
        scenes = [_scene(pick, (11, number, index)) for index in range(count)]
        write_coco(root, split, scenes, names)


def write_clip_art(art: Path, root: Path, train: int = TRAIN, val: int = VAL) -> None:
    """Write clip art on photographs."""
    for split, number, count in (("train", 0, train), ("val", 1, val)):
        pick = materials.clip_art(art, split)
        scenes = [_scene(pick, (12, number, index)) for index in range(count)]
        write_coco(root, split, scenes, list(materials.CLIP_ART))


def _scene(pick: Callable[[np.random.Generator], Cut], key: Sequence[int]) -> Scene:
    chance = np.random.default_rng(list(key))
    photographs = materials.photographs()
    background = crop(photographs[chance.integers(len(photographs))], chance)
    return compose(background, pick, chance)


def write_coco(root: Path, split: str, scenes: Sequence[Scene], names: Sequence[str]) -> None:
    """Write scenes as a split in COCO's layout."""
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    (root / split).mkdir(parents=True)
    for number, scene in enumerate(scenes, start=1):
        name = f"{number:06d}.jpg"
        pixels = cv2.cvtColor(scene.rgb, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(root / split / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
        height, width = scene.rgb.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for (x1, y1, x2, y2), label in zip(
            scene.boxes_xyxy.tolist(), scene.labels.tolist(), strict=True
        ):
            sides = x2 - x1, y2 - y1
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, *sides],
                    "area": sides[0] * sides[1],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    _write_instances(root, split, images, boxes, categories)


def write_halves(coco: Path, root: Path) -> None:
    """Write the images of ``train2017`` as two splits, people and everything else as classes.

    From 64 images nothing is learnt about 80 classes, so that no recipe would differ from others.

    Args:
        coco: the root of COCO or a part of it.
        root: to write into.
    """
    file = coco / "annotations/instances_train2017.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    people = {one["id"] for one in whole["categories"] if one["name"] == "person"}
    images = sorted(whole["images"], key=lambda one: one["id"])
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "thing"}]
    for place, split in enumerate(("train", "val")):
        own = images[place::2]
        ids = {one["id"] for one in own}
        boxes = [
            {**one, "segmentation": [], "category_id": 1 if one["category_id"] in people else 2}
            for one in whole["annotations"]
            if one["image_id"] in ids
        ]
        (root / split).mkdir(parents=True)
        for one in own:
            shutil.copyfile(coco / "train2017" / one["file_name"], root / split / one["file_name"])
        _write_instances(root, split, own, boxes, categories)


def write_union(two: Sequence[Place], root: Path) -> None:
    """Write every second image of each split of some sets as one set, with the classes of all."""
    images: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    boxes: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    categories: list[dict[str, Any]] = []
    for split in images:
        (root / split).mkdir(parents=True)
    for place in two:
        with composed("train", place.words) as config:
            data = make_datamodule(config)
            first = len(categories)
            names = [f"{place.name} {name}" for name in data.train.truth.class_names]
            categories += [
                {"id": first + number, "name": name} for number, name in enumerate(names, start=1)
            ]
            for split, own in (("train", data.train), ("val", data.val)):
                for image in range(0, len(own), 2):
                    _add(own, image, images[split], boxes[split], root / split, first)
    for split in images:
        _write_instances(root, split, images[split], boxes[split], categories)


def _add(
    split: DataSplit,
    image: int,
    images: list[dict[str, Any]],
    boxes: list[dict[str, Any]],
    folder: Path,
    first: int,
) -> None:
    truth, number = split.truth, len(images) + 1
    source = Path(str(split.image_dir)) / str(truth.file_names[image])
    name = f"{number:06d}{source.suffix}"
    shutil.copyfile(source, folder / name)
    height, width = truth.sizes_hw[image].tolist()
    images.append({"id": number, "file_name": name, "width": width, "height": height})
    rows = truth.rows(image)
    for (x1, y1, x2, y2), label, ignored, area in zip(
        truth.boxes_xyxy[rows].tolist(),
        truth.labels[rows].tolist(),
        truth.ignored[rows].tolist(),
        truth.areas_px[rows].tolist(),
        strict=True,
    ):
        boxes.append(
            {
                "id": len(boxes) + 1,
                "image_id": number,
                "category_id": first + label + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": area,
                "iscrowd": int(ignored),
            }
        )


def _write_instances(
    root: Path,
    split: str,
    images: Sequence[dict[str, Any]],
    boxes: Sequence[dict[str, Any]],
    categories: Sequence[dict[str, Any]],
) -> None:
    folder = root / "annotations"
    folder.mkdir(exist_ok=True)
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
