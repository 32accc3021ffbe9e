import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import PCG64, Generator

from fcos_lightning.data.shapes import scenes as shape_scenes
from fcos_lightning.data.shapes.drawn import default_cache, draw_image, write_shapes
from fcos_lightning.data.shapes.scenes import (
    CLASS_NAMES,
    LEAST_INSIDE_SHARE,
    LEAST_VISIBLE_SHARE,
    SMALLEST_PX,
    Shape,
    arrange,
    fill,
    outline,
    paint,
)
from fcos_lightning.errors import UserError

SMALL = {"train": 10, "val": 4, "size": 64}
GOLDEN = [
    (5, [43.75, 86.5, 21.25, 22.5], 258.5625),
    (2, [1.75, 0.0, 99.75, 87.0], 7436.8125),
    (1, [78.25, 31.25, 21.5, 21.75], 367.0),
]
WRITE = (
    "import sys; from pathlib import Path\n"
    "from fcos_lightning.data.shapes.drawn import write_shapes\n"
    "write_shapes(Path(sys.argv[1]), train=int(sys.argv[2]), val=4, size=64)"
)


def instances(root: Path, split: str) -> dict:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def layouts(count: int) -> list[list[Shape]]:
    return [arrange(Generator(PCG64(index)), 128) for index in range(count)]


def test_layout_is_coco(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "shapes", **SMALL)
    for split in ("train", "val"):
        coco = instances(root, split)
        assert [c["name"] for c in coco["categories"]] == list(CLASS_NAMES)
        assert [c["id"] for c in coco["categories"]] == [1, 2, 3, 4, 5]
        assert len(coco["images"]) == SMALL[split] == len(list((root / split).iterdir()))
        for image in coco["images"]:
            pixels = cv2.imread(str(root / split / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3) == (64, 64, 3)
        assert [a["id"] for a in coco["annotations"]] == [*range(1, len(coco["annotations"]) + 1)]
        known = {image["id"] for image in coco["images"]}
        for annotation in coco["annotations"]:
            x, y, width, height = annotation["bbox"]
            assert annotation["image_id"] in known
            assert annotation["iscrowd"] == 0
            assert 0 <= x < x + width <= 64
            assert 0 <= y < y + height <= 64
            assert 0 < annotation["area"] <= width * height


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = files(write_shapes(tmp_path / "a", **SMALL))
    assert files(write_shapes(tmp_path / "b", **SMALL)) == first
    other = files(write_shapes(tmp_path / "c", **SMALL, seed=1))
    name = str(Path("annotations") / "instances_train.json")
    assert other[name] != first[name]


def test_annotations_are_what_they_were() -> None:
    """Written down once: a library's new version must not move a box."""
    _, annotations = draw_image("train", 0)
    assert [(a["category_id"], a["bbox"], a["area"]) for a in annotations] == GOLDEN


def test_splits_share_no_image() -> None:
    train = {draw_image("train", index, size=64)[0].tobytes() for index in range(10)}
    val = {draw_image("val", index, size=64)[0].tobytes() for index in range(10)}
    assert len(train) == len(val) == 10
    assert not train & val


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_fill_agrees_with_opencv(label: int) -> None:
    cells = [np.rint((polygon + 1) * 200).astype(np.int64) for polygon in outline(label)]
    mask = fill(cells, 400, 400)
    expected = np.zeros((400, 400), dtype=np.uint8)
    cv2.fillPoly(expected, [polygon.astype(np.int32) for polygon in cells], 1)
    # OpenCV fills the cells on the outline as well, so only these may differ.
    border = np.zeros_like(expected)
    cv2.polylines(border, [polygon.astype(np.int32) for polygon in cells], True, 1, 3)
    assert not (mask != expected.astype(bool))[border == 0].any()
    assert mask.sum() == pytest.approx(expected.sum(), rel=0.02)


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
def test_fill_gives_the_area_of_the_polygon(label: int) -> None:
    cells = [np.rint((polygon + 1) * 200).astype(np.int64) for polygon in outline(label)]
    shoelace = [
        abs(np.dot(p[:, 0], np.roll(p[:, 1], -1)) - np.dot(p[:, 1], np.roll(p[:, 0], -1))) / 2
        for p in cells
    ]
    area = shoelace[0] - sum(shoelace[1:])
    assert fill(cells, 400, 400).sum() == pytest.approx(area, rel=0.005)


def test_boxes_are_tight_around_what_is_painted() -> None:
    """Paint every object alone and find where pixels changed."""
    checked = 0
    for index, shapes in enumerate(layouts(25)):
        for shape in shapes:
            canvas = np.full((3, 128, 128), -1000, dtype=np.float32)
            paint(canvas, shape, Generator(PCG64(index)))
            rows, columns = np.nonzero((canvas != -1000).any(axis=0))
            x, y, width, height = shape.box_xywh
            assert (columns.min(), rows.min()) == (math.floor(x), math.floor(y))
            assert columns.max() + 1 == math.ceil(x + width)
            assert rows.max() + 1 == math.ceil(y + height)
            checked += 1
    assert checked > 50


def test_area_counts_what_is_painted() -> None:
    checked = 0
    for shapes in layouts(10):
        for shape in shapes:
            _, _, width, height = shape.box_xywh
            share = {"circle": 0.785, "ring": 0.785 * (1 - 0.56**2)}.get(CLASS_NAMES[shape.label])
            cut = shape.corner_px[0] == 0 or shape.corner_px[1] == 0
            right = shape.corner_px[0] + width >= 126
            if share is None or cut or right or shape.corner_px[1] + height >= 126:
                continue
            # A turned ellipse fills less of its box than an upright one.
            assert 0.9 * share < shape.area_px / (width * height) < 1.05 * share
            checked += 1
    assert checked > 5


def test_sizes_are_log_uniform_from_12_px_to_most_of_the_image() -> None:
    sides = [max(s.box_xywh[2:]) for shapes in layouts(400) for s in shapes]
    assert len(sides) > 1000
    assert min(sides) >= SMALLEST_PX - 0.25
    assert min(sides) < 13
    assert 100 < max(sides) <= 0.86 * 128 + 0.5
    thirds = SMALLEST_PX * (0.86 * 128 / SMALLEST_PX) ** np.array([1 / 3, 2 / 3])
    shares = np.bincount(np.digitize(sides, thirds), minlength=3) / len(sides)
    # The large ones are hard to place, and cropped ones count as smaller.
    assert np.all(np.abs(shares - 1 / 3) < 0.08), shares


def test_counts_classes_and_empties() -> None:
    scenes = layouts(600)
    counts = np.bincount([len(shapes) for shapes in scenes], minlength=7)
    assert 0.05 < counts[0] / len(scenes) < 0.12
    assert len(counts) == 7
    assert counts[1:].min() > 0.08 * len(scenes)
    labels = np.bincount([s.label for shapes in scenes for s in shapes], minlength=5)
    assert labels.min() > 0.8 * labels.max()


def test_objects_overlap_but_none_is_mostly_hidden() -> None:
    overlapping = 0
    for shapes in layouts(150):
        top = np.full((512, 512), -1)
        for order, shape in enumerate(shapes):
            y, x = shape.corner_px[1] * 4, shape.corner_px[0] * 4
            height, width = shape.mask.shape
            top[y : y + height, x : x + width][shape.mask] = order
        for order, shape in enumerate(shapes):
            seen = np.count_nonzero(top == order) / np.count_nonzero(shape.mask)
            assert seen > LEAST_VISIBLE_SHARE - 0.02  # counted on every second cell
            overlapping += seen < 1
    assert overlapping > 20


def test_most_of_every_object_lies_in_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: dict[int, float] = {}
    crop = shape_scenes._crop

    def watched(full: np.ndarray, *rest: int) -> Shape:
        shape = crop(full, *rest)
        shares[id(shape)] = shape.cells / np.count_nonzero(full)
        kept.append(shape)  # alive, so that no other gets its id
        return shape

    kept: list[Shape] = []
    monkeypatch.setattr(shape_scenes, "_crop", watched)
    placed = [shares[id(shape)] for shapes in layouts(100) for shape in shapes]
    assert min(shares.values()) < LEAST_INSIDE_SHARE <= min(placed) < 1


def test_classes_do_not_differ_by_colour() -> None:
    """Mean colours of the classes lie together; only the outline tells them apart."""
    colours: dict[int, list[np.ndarray]] = {}
    for index in range(250):
        image, annotations = draw_image("train", index)
        for a in annotations:
            x, y, width, height = (round(side) for side in a["bbox"])
            patch = image[y : y + height, x : x + width].reshape(-1, 3)
            colours.setdefault(a["category_id"], []).append(patch.mean(axis=0))
    means = np.stack([np.mean(values, axis=0) for values in colours.values()])
    assert np.ptp(means, axis=0).max() < 25


def test_complete_data_set_is_left_untouched(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "shapes", **SMALL)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert write_shapes(root, **SMALL) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_other_parameters_or_files_are_refused_not_replaced(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "shapes", **SMALL)
    with pytest.raises(UserError, match=r"shapes drawn with .*set data\.root"):
        write_shapes(root, train=10, val=4, size=96)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=r"other files.*set data\.root"):
        write_shapes(mine, **SMALL)
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]


def test_lost_images_are_noticed(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "shapes", **SMALL)
    next((root / "val").iterdir()).unlink()
    with pytest.raises(UserError, match=r"lost files of its val split.*delete"):
        write_shapes(root, **SMALL)


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    assert len(files(write_shapes(tmp_path / "shapes", **SMALL))) == 10 + 4 + 2 + 1


def test_two_processes_racing_both_end_well(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    command = [sys.executable, "-c", WRITE, str(root), "40"]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    ends = [(w.communicate(timeout=60)[1], w.returncode) for w in writers]
    assert [code for _, code in ends] == [0, 0], ends
    assert len(instances(root, "train")["images"]) == 40 == len(list((root / "train").iterdir()))
    assert [p.name for p in tmp_path.iterdir()] == ["shapes"]


def test_second_to_finish_keeps_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race in slow motion: the other writer finishes while this one is drawing."""
    from fcos_lightning.data.shapes import drawn as shapes

    root = tmp_path / "shapes"
    write = shapes._write

    def overtaken(folder: Path, parameters: dict[str, int]) -> None:
        monkeypatch.setattr(shapes, "_write", write)
        write_shapes(root, **SMALL)
        (root / "first").touch()
        write(folder, parameters)

    monkeypatch.setattr(shapes, "_write", overtaken)
    write_shapes(root, **SMALL)
    assert (root / "first").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["shapes"]


def test_killed_writer_leaves_nothing_that_is_mistaken_for_a_data_set(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    writer = subprocess.Popen([sys.executable, "-c", WRITE, str(root), "100000"])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".shapes.part-*/train/*.jpg")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not root.exists()
    (debris,) = tmp_path.iterdir()
    write_shapes(root, **SMALL)
    assert len(instances(root, "train")["images"]) == 10
    assert debris.exists()  # perhaps another writer at work
    os.utime(debris, (0, 0))
    (tmp_path / "shapes").rename(tmp_path / "elsewhere")
    write_shapes(root, **SMALL)
    assert not debris.exists()


def test_interrupted_writer_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fcos_lightning.data.shapes.drawn.draw_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / "shapes", **SMALL)
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_says_to_set_data_root(tmp_path: Path) -> None:
    # A file where a folder should be fails for root as well, whom permissions do not stop.
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match=r"set data\.root") as caught:
        write_shapes(tmp_path / "cache" / "shapes", **SMALL)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "cache" / "shapes") in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_read_only_folder_says_to_set_data_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match=r"set data\.root"):
            write_shapes(tmp_path / "shapes", **SMALL)
    finally:
        tmp_path.chmod(0o700)


def test_full_disk_says_to_set_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"No space left on device.*set data\.root"):
        write_shapes(tmp_path / "shapes", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"size": 16}, {"train": 0}, {"val": -1}, {"seed": -1}])
def test_nonsense_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="shapes cannot be drawn"):
        write_shapes(tmp_path / "shapes", **{**SMALL, **wrong})


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().parent == tmp_path / "fcos-lightning"
    assert default_cache().name.startswith("shapes-v1-")
    assert default_cache(size=96) != default_cache()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache().parent == tmp_path / "home" / ".cache" / "fcos-lightning"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_cache().parent == tmp_path / "home" / ".cache" / "fcos-lightning"
