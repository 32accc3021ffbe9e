"""Reading the annotations of a data set of COCO's size, beside pycocotools.

The JSON is drawn here, as large as that of train2017, with a polygon for every box. Each reading
is a process of its own, so that none finds memory that another one has left behind.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import Figure, Growth, Result, median, peak_mb
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.splits import DataSplit

TITLE = "annotation index"

IMAGES, BOXES = 118_287, 860_001
GROWTH = (1_000, 10_000, 100_000, 1_000_000)
#: pycocotools would need some 20 GB for a million images.
PEER_AT_MOST = 200_000
BYTES_PER_IMAGE = 3_500
PEER = "pycocotools"
SCRIPTS = Path(__file__).resolve().parents[1]


def absent() -> str | None:
    """Say why this machine cannot run the row."""
    if not Path("/proc/self/smaps_rollup").exists():
        return "memory is counted as Linux does"
    return None


def draw(root: Path, images: int) -> Path:
    """Write a data set of so many images, which are empty files, and return its JSON."""
    random = np.random.default_rng(images)
    boxes = round(images * BOXES / IMAGES)
    xy = random.uniform(0, 300, (boxes, 2)).round(2).tolist()
    wh = random.uniform(1, 180, (boxes, 2)).round(2).tolist()
    image_of = random.integers(1, images + 1, boxes).tolist()
    category_of = random.integers(1, 81, boxes).tolist()
    corners = random.integers(5, 34, 4096)
    outlines = [json.dumps([random.uniform(0, 480, 2 * n).round(2).tolist()]) for n in corners]
    outline_of = random.integers(0, len(outlines), boxes).tolist()

    root.mkdir()
    (root / "images").mkdir()
    file = root / "instances.json"
    with file.open("w") as out:
        out.write('{"info": {"description": "drawn"}, "licenses": [], "images": [')
        for image in range(1, images + 1):
            name = f"{image:012d}.jpg"
            (root / "images" / name).touch()
            out.write(", " * (image > 1))
            out.write(
                f'{{"license": 4, "file_name": "{name}", "coco_url": "http://images.cocodataset'
                f'.org/train2017/{name}", "height": 480, "width": 640, "date_captured": '
                '"2013-11-14 17:02:52", "flickr_url": "http://farm9.staticflickr.com/8186/'
                f'8119368305_4e622c8349_z.jpg", "id": {image}}}'
            )
        out.write('], "annotations": [')
        for row, ((x, y), (w, h)) in enumerate(zip(xy, wh, strict=True)):
            out.write(", " * (row > 0))
            out.write(
                f'{{"segmentation": {outlines[outline_of[row]]}, "area": {w * h * 0.6}, '
                f'"iscrowd": 0, "image_id": {image_of[row]}, "bbox": [{x}, {y}, {w}, {h}], '
                f'"category_id": {category_of[row]}, "id": {row + 1}}}'
            )
        categories = [{"id": number, "name": f"class {number}"} for number in range(1, 81)]
        out.write(f'], "categories": {json.dumps(categories)}}}')
    return file


# What the processes do


def read(who: str, file: Path) -> dict[str, float]:
    """Read once; return seconds, MB, and sums that are the same only for the same boxes."""
    found: list[object] = []
    seconds = math.nan

    def timed() -> None:
        nonlocal seconds
        began = time.perf_counter()
        found.append(_reader(who, file))
        seconds = time.perf_counter() - began

    mb = peak_mb(timed)
    if isinstance(split := found[0], DataSplit):
        areas, left = split.truth.areas_px.tolist(), split.truth.boxes_xyxy[:, 0].tolist()
        images = len(split)
    else:
        areas = [annotation["area"] for annotation in split.anns.values()]
        left = [annotation["bbox"][0] for annotation in split.anns.values()]
        images = len(split.imgs)
    return {
        "seconds": seconds,
        "mb": mb,
        "images": images,
        "boxes": len(areas),
        "areas": math.fsum(areas),
        "left": math.fsum(left),
    }


def work(who: str, file: Path) -> dict[str, float]:
    """Let a loader's process take all boxes; return what memory it has to itself."""
    read_by = _reader(who, file)
    loader = DataLoader(_Boxes(read_by), batch_size=256, num_workers=1, collate_fn=list)
    *_, last = loader
    return {"mb": last[-1]}


def _reader(who: str, file: Path) -> object:
    if who == PEER:
        from pycocotools.coco import COCO

        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(file))
    return read_coco(file, file.parent / "images", cache=who == "cached")


class _Boxes(Dataset[float]):
    """Takes the boxes of each image, and says last what memory its process does not share."""

    def __init__(self, index: object) -> None:
        self.index = index
        self.ids = [] if isinstance(index, DataSplit) else np.array(sorted(index.imgs))
        self.number = len(index) if isinstance(index, DataSplit) else len(self.ids)

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, place: int) -> float:
        if isinstance(self.index, DataSplit):
            self.index.path(place)
            self.index.target(place)
        else:
            wanted = self.index.getAnnIds(imgIds=int(self.ids[place]))
            np.array([annotation["bbox"] for annotation in self.index.loadAnns(wanted)])
        return _own_mb() if place == self.number - 1 else 0.0


def _own_mb() -> float:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", rollup, re.M))) / 1000


# Measuring


def alone(task: str, who: str, file: Path, cache: Path) -> dict[str, float]:
    """Run one of the tasks above in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.index", task, who, str(file)]
    paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(cache),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def compared(file: Path, cache: Path) -> dict[str, dict[str, float]]:
    """Read a file by the peer, by ours for the first time, and by ours again."""
    shutil.rmtree(cache, ignore_errors=True)
    found = {PEER: alone("read", PEER, file, cache), "plain": alone("read", "plain", file, cache)}
    found["first"] = alone("read", "cached", file, cache)
    found["again"] = alone("read", "cached", file, cache)
    for what in ("images", "boxes", "areas", "left"):
        if len({one[what] for one in found.values()}) != 1:
            raise RuntimeError(f"{what} differ: {found}")
    return found


def run(rounds: int, images: int = IMAGES, growth: Sequence[int] = GROWTH) -> Result:
    """Measure both ways to read a data set, what loaders pay, and how reading grows."""
    with tempfile.TemporaryDirectory() as name:
        root, cache = Path(name), Path(name) / "cache"
        file = draw(root / "data", images)
        drawn_mb = file.stat().st_size / 1e6
        time.sleep(3)  # what has only just changed is not kept
        all_found = [compared(file, cache) for _ in range(rounds)]
        empty = draw(root / "empty", 1)
        own = {  # once: it hardly differs from run to run
            who: [alone("work", who, file, cache)["mb"] - alone("work", who, empty, cache)["mb"]]
            for who in ("plain", PEER)
        }
        shutil.rmtree(root / "data")
        curve = _growth(root, growth)

    def column(who: str, what: str) -> list[float]:
        return [found[who][what] for found in all_found]

    theirs = column(PEER, "seconds")
    memory = column(PEER, "mb")
    boxes = int(all_found[0][PEER]["boxes"])
    figures = [
        Figure("read the first time", PEER, "s", column("first", "seconds"), theirs, target=8),
        Figure("peak memory of that", PEER, "MB", column("first", "mb"), memory, target=3),
        Figure(
            "read again, from the cache",
            PEER,
            "s",
            column("again", "seconds"),
            theirs,
            absolute_target=0.5,
        ),
        Figure(
            "memory of its own that a loader process needs for it",
            PEER,
            "MB",
            own["plain"],
            own[PEER],
            absolute_target=20,
        ),
    ]
    notes = [
        f"{images:,} images and {boxes:,} boxes with polygons, {drawn_mb:.0f} MB of JSON. Both "
        "find the same images, boxes and areas; ours has also looked for each image in its "
        f"folder. Without writing the cache the first time takes "
        f"{median(column('plain', 'seconds')):.2f} s.",
        "Half of the first time is the JSON decoder's, and half of that goes into passing over "
        "outlines. Tried and left: cutting these out beforehand, by a regular expression or by "
        "numpy, costs what it saves; larger pieces change nothing; a second process for half of "
        "the file would save about a third once for each data set, at the price of a fork.",
    ]
    return Result(figures, notes, [curve])


def _growth(root: Path, sizes: Sequence[int]) -> Growth:
    files: dict[int, Path] = {}
    for images in sizes:
        if shutil.disk_usage(root).free > 3 * images * BYTES_PER_IMAGE:
            files[images] = draw(root / f"grown-{images}", images)
    ours: dict[int, list[float]] = {images: [] for images in files}
    theirs: dict[int, list[float]] = {images: [] for images in files if images <= PEER_AT_MOST}
    # Size after size and again, as a machine that has worked for a minute may have become slower.
    for _ in range(3):
        for images, file in files.items():
            ours[images].append(alone("read", "plain", file, root)["seconds"])
            if images in theirs:
                theirs[images].append(alone("read", PEER, file, root)["seconds"])
    return Growth(
        "reading annotations",
        "images",
        list(files),
        PEER,
        [median(ours[images]) for images in files],
        [median(theirs[images]) if images in theirs else None for images in files],
    )


if __name__ == "__main__":
    tasks = {"read": read, "work": work}
    print(json.dumps(tasks[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
