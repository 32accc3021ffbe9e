"""Measure what tiles are worth: AP of small objects in large drawn images, and memory.

    python scripts/tiles.py out=FOLDER              AP on images of 4,000 px, with and without tiles
    python scripts/tiles.py out=FOLDER side=20000   memory for one image of 20,000 x 20,000 px

A small detector learns squares and discs of 12 px in images of 128 px, some minutes on two cores;
then ``fcos-test`` measures it on large images, at its own size, at the paper's and with
``tiles=auto``. What is in the folder already is not done again. With
``side=`` the same detector looks at one TIFF of that size, which is read in pieces, and the
highest resident memory is told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

OBJECT_PX = 12
TRAIN_PX, LARGE_PX = 128, 4000
TRAINED, MEASURED = 400, 3
#: Objects of an image; COCO's AP looks at the best 100 detections of each.
FEW, MANY = 4, 80
NAMES = ("square", "disc")


def scene(
    random: np.random.Generator, side: int, wanted: int
) -> tuple[NDArray[np.uint8], list[list[int]]]:
    """Draw shapes on smooth noise; return the image, and class, x and y of each."""
    coarse = random.integers(40, 150, (side // 16 + 1, side // 16 + 1, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    taken = np.zeros((side // 20 + 2, side // 20 + 2), dtype=bool)
    objects = []
    for x, y in random.integers(1, side - OBJECT_PX - 1, (wanted, 2)).tolist():
        cells = taken[y // 20 : (y + OBJECT_PX) // 20 + 1, x // 20 : (x + OBJECT_PX) // 20 + 1]
        if cells.any():
            continue
        cells[:] = True
        label = int(random.integers(2))
        colour = random.integers(150, 256, 3).tolist()
        far = OBJECT_PX - 1
        if label == 0:
            cv2.rectangle(image, (x, y), (x + far, y + far), colour, -1)
        else:
            half = OBJECT_PX // 2
            cv2.ellipse(image, ((x + half - 0.5, y + half - 0.5), (far, far), 0), colour, -1)
        objects.append([label, x, y])
    return image, objects


def write_split(root: Path, split: str, count: int, side: int, seed: int) -> None:
    """Write a split in COCO's layout."""
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        wanted = MANY if side == LARGE_PX else FEW
        pixels, objects = scene(np.random.default_rng((seed, number)), side, wanted)
        name = f"{number:04d}.png"
        Image.fromarray(pixels).save(root / split / name)
        images.append({"id": number, "file_name": name, "width": side, "height": side})
        for label, x, y in objects:
            box = [x, y, OBJECT_PX, OBJECT_PX]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": OBJECT_PX**2,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def write_large(path: Path, side: int, rows: int = 256) -> None:
    """Write a TIFF of deflated strips, a few rows at a time."""
    random = np.random.default_rng(0)
    offsets, sizes = [], []
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(4))
        for first in range(0, side, rows):
            height = min(rows, side - first)
            strip = np.full((height, side, 3), 100, dtype=np.uint8)
            for x in random.integers(0, side - OBJECT_PX, side // 500).tolist():
                strip[40 : 40 + OBJECT_PX, x : x + OBJECT_PX] = 250
            content = zlib.compress(strip.tobytes(), 1)
            offsets.append(file.tell())
            sizes.append(len(content))
            file.write(content)
        places = []
        for numbers in (offsets, sizes, [8, 8, 8]):
            file.write(bytes(file.tell() % 2))
            places.append(file.tell())
            file.write(np.array(numbers, dtype="<u2" if numbers == [8, 8, 8] else "<u4").tobytes())
        count = len(offsets)
        if count == 1:  # then the tag itself holds it
            places[:2] = offsets[0], sizes[0]
        tags = [
            *((256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, places[2]), (259, 3, 1, 8)),
            *((262, 3, 1, 2), (273, 4, count, places[0]), (277, 3, 1, 3), (278, 4, 1, rows)),
            *((279, 4, count, places[1]), (284, 3, 1, 1)),
        ]
        file.write(bytes(file.tell() % 2))
        directory = file.tell()
        file.write(np.array(len(tags), dtype="<u2").tobytes())
        for tag, kind, number, value in tags:
            file.write(np.array([tag, kind], dtype="<u2").tobytes())
            file.write(np.array([number, value], dtype="<u4").tobytes())
        file.write(bytes(4))
        file.seek(4)
        file.write(np.array(directory, dtype="<u4").tobytes())


def command(name: str, *words: str) -> None:
    """Run one of our commands; its words are the user's to see.

    Raises:
        RuntimeError: if it fails.
    """
    print(f"fcos-{name} {' '.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", f"fcos_lightning.cli.{name}", *words],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"fcos-{name} failed")


def trained(out: Path) -> Path:
    """Return the checkpoint of the small detector, which is trained where it is not there."""
    checkpoint = out / "run" / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        if not (out / "data").is_dir():
            write_split(out / "data", "train2017", TRAINED, TRAIN_PX, seed=0)
            write_split(out / "data", "val2017", 40, TRAIN_PX, seed=1)
        sides = [f"data.shorter_side={TRAIN_PX}", f"data.longer_side={TRAIN_PX}"]
        command(
            *("train", "experiment=quickstart", "data=coco", f"data.root={out / 'data'}", *sides),
            *("data.num_workers=0", "data.batch_size=16", "schedule.max_epochs=12"),
            *("callbacks.progress=null", "callbacks.previews=null", f"run_dir={out / 'run'}"),
        )
    return checkpoint


def measure(out: Path) -> dict[str, float]:
    """Return AP of small objects with and without tiles."""
    checkpoint = trained(out)
    root = out / "large"
    if not root.is_dir():
        write_split(root, "val2017", MEASURED, LARGE_PX, seed=2)
        (root / "annotations" / "instances_train2017.json").write_bytes(
            (root / "annotations" / "instances_val2017.json").read_bytes()
        )
        (root / "train2017").symlink_to("val2017")
    found = {}
    larger = ("data.shorter_side=800", "data.longer_side=1333")
    ways = {
        "as a whole": ("null", ("tiles=null",)),
        "as a whole at 800x1333": ("800", larger),
        "tiles=auto": ("auto", ("tiles=auto",)),
    }
    for name, (short, words) in ways.items():
        folder = out / f"test_{short}"
        if not folder.is_dir():
            command(
                *("test", f"ckpt={checkpoint}", "data=coco", f"data.root={root}"),
                *("data.val_split=val2017", *words, "data.num_workers=0"),
                *("decoder.max_detections=1000", f"run_dir={folder}"),
            )
        figures = json.loads((folder / "metrics.json").read_text())
        found[name] = float(figures["APs"])
    return found


def peak_mb(out: Path, side: int) -> tuple[float, float]:
    """Return the highest resident memory in MB of predicting on a small and on a large image."""
    checkpoint = trained(out)
    peaks = []
    for name, one in (("small", 2 * TRAIN_PX), ("large", side)):
        file = out / f"{name}_{one}.tif"
        if not file.is_file():
            write_large(file, one)
        code = (
            "import resource, sys; from fcos_lightning import Predictor; "
            "p = Predictor.load(sys.argv[1], device='cpu', tiles='1024x1024', batch_size=1); "
            "print(len(p(sys.argv[2])), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, str(checkpoint), str(file)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        print(f"{file.name}: {told[0]} detections, {float(told[1]):.0f} MB at most", flush=True)
        peaks.append(float(told[1]))
    return peaks[0], peaks[1]


def main() -> int:
    """Measure what is asked for."""
    given = dict(word.partition("=")[::2] for word in sys.argv[1:])
    if not given.get("out") or set(given) - {"out", "side"}:
        print(__doc__)
        return 2
    out = Path(os.path.abspath(given["out"]))
    out.mkdir(parents=True, exist_ok=True)
    if "side" in given:
        small, large = peak_mb(out, int(given["side"]))
        print(f"{large - small:.0f} MB more than for a small image")
        return 0
    found = measure(out)
    for name, figure in found.items():
        print(f"AP of small objects, {LARGE_PX} px, {name}: {figure:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
