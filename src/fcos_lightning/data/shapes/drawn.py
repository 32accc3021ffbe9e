"""The embedded data set ``shapes``: five classes, drawn once, read by the ordinary COCO road.

It is there so that the whole road from images to AP can be walked without a download. The classes
differ by outline only: colours, textures and backgrounds are drawn alike for all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from fcos_lightning.data.shapes.scenes import CLASS_NAMES, arrange, background, paint
from fcos_lightning.errors import UserError
from fcos_lightning.storage.caches import cache_folder

VERSION = 1
SPLITS = ("train", "val")
_PARAMETERS_FILE = "shapes.json"
#: A typing mistake should not fill a disk.
_MOST_IMAGES = 1_000_000
_LARGEST_PX = 8192
_ABANDONED_AFTER_S = 3600.0


def default_cache(*, train: int = 2000, val: int = 200, size: int = 128, seed: int = 0) -> Path:
    """Folder that holds the data set of these parameters, in the user's cache."""
    return cache_folder() / f"shapes-v{VERSION}-{train}-{val}-{size}px-seed{seed}"


def draw_image(
    split: str, index: int, *, size: int = 128, seed: int = 0
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[dict[str, Any]]]:
    """Draw one image; the same arguments give the same annotations on every machine.

    Args:
        split: ``train`` or ``val``; they draw from different streams.
        index: number of the image in its split, from 0.
        size: side of the image, pixels.
        seed: of the whole data set.

    Returns:
        ``[size, size, 3]`` uint8 RGB, and its annotations in COCO's form, without ids.
    """
    layout, looks = (
        Generator(PCG64(SeedSequence([seed, VERSION, SPLITS.index(split), index, stream])))
        for stream in range(2)
    )
    shapes = arrange(layout, size)
    canvas = background(looks, size)
    for shape in shapes:
        paint(canvas, shape, looks)
    annotations = [
        {
            "category_id": shape.label + 1,
            "bbox": list(shape.box_xywh),
            "area": shape.area_px,
            "iscrowd": 0,
        }
        for shape in shapes
    ]
    pixels = np.rint(canvas.clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(pixels), annotations


def write_shapes(
    root: Path, *, train: int = 2000, val: int = 200, size: int = 128, seed: int = 0
) -> Path:
    """Draw the data set, unless it is already there, in COCO layout.

    It is written to a hidden sibling folder and renamed into place: ``root`` holds all of it or
    does not exist, also when the writer is killed or two of them race.

    Args:
        root: folder to hold ``annotations/instances_{train,val}.json``, ``train/`` and ``val/``.
        train: number of training images.
        val: number of validation images.
        size: side of the images, pixels; at least 32.
        seed: of the random streams.

    Returns:
        ``root``.

    Raises:
        UserError: if ``root`` cannot be written, or holds something else.
    """
    sensible = 32 <= size <= _LARGEST_PX and min(train, val) >= 1 and seed >= 0
    if not sensible or train + val > _MOST_IMAGES:
        raise UserError(
            f"shapes cannot be drawn with train={train} val={val} size={size} seed={seed}: "
            f"use 1 to {_MOST_IMAGES} images, 32 to {_LARGEST_PX} px, and a seed that is not "
            "negative"
        )
    root = Path(root)
    parameters = {"version": VERSION, "train": train, "val": val, "size": size, "seed": seed}
    try:
        if _is_complete(root, parameters):
            return root
        root.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        draft = Path(tempfile.mkdtemp(prefix=_draft_prefix(root), dir=root.parent))
        try:
            _write(draft, parameters)
            _move_into_place(draft, root, parameters)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write the shapes data set to {root} ({error.strerror or error}): "
            "set data.root to a folder that can be written"
        ) from error
    return root


def _is_complete(root: Path, parameters: dict[str, int]) -> bool:
    """Whether ``root`` holds this data set; False if nothing is there yet.

    Raises:
        UserError: if something else is there, or files have been taken out of it.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / _PARAMETERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != parameters:
        held = "other files" if found is None else f"shapes drawn with {found}"
        raise UserError(
            f"{root} holds {held}, which are left alone: "
            "set data.root to a folder that is new or empty"
        )
    for split in SPLITS:
        has_list = (root / "annotations" / f"instances_{split}.json").is_file()
        images = len(os.listdir(root / split)) if (root / split).is_dir() else 0
        if not has_list or images < parameters[split]:
            raise UserError(
                f"the shapes data set in {root} has lost files of its {split} split: "
                "delete this folder, it will be drawn again"
            )
    return True


def _draft_prefix(root: Path) -> str:
    return f".{root.name}.part-"


def _remove_abandoned(root: Path) -> None:
    """Remove drafts of writers killed long ago; a live one takes seconds."""
    for draft in root.parent.glob(f"{_draft_prefix(root)}*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(draft, ignore_errors=True)


def _write(folder: Path, parameters: dict[str, int]) -> None:
    # mkdtemp gives 0700, but a cache may be shared: what mkdir would give.
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    (folder / "annotations").mkdir()
    for split in SPLITS:
        (folder / split).mkdir()
        _write_split(folder, split, parameters)
    (folder / _PARAMETERS_FILE).write_text(_json(parameters), encoding="utf-8")


def _write_split(folder: Path, split: str, parameters: dict[str, int]) -> None:
    size = parameters["size"]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(parameters[split]):
        pixels, objects = draw_image(split, index, size=size, seed=parameters["seed"])
        image = {
            "id": index + 1,
            "file_name": f"{index + 1:06d}.jpg",
            "width": size,
            "height": size,
        }
        coded, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not coded:
            raise OSError(f"OpenCV cannot encode {image['file_name']}")
        (folder / split / str(image["file_name"])).write_bytes(data.tobytes())
        images.append(image)
        for annotation in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], **annotation})
    instances = {
        "info": {"description": "fcos-lightning shapes", **parameters},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASS_NAMES)],
    }
    path = folder / "annotations" / f"instances_{split}.json"
    path.write_text(_json(instances), encoding="utf-8")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"


def _move_into_place(draft: Path, root: Path, parameters: dict[str, int]) -> None:
    """Rename, which replaces nothing but an empty folder; another writer may have been first."""
    try:
        draft.rename(root)
    except OSError:
        if not _is_complete(root, parameters):
            raise
