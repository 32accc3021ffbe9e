"""Boxes: each finding against a plain loop, or a data set that has it and one that has not."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from tests.doctor.data_sets import SMALL, Scene, clean, examine, one, only, picture

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.doctor.check import Examined, ExaminedSet
from fcos_lightning.doctor.checks.boxes import (
    BoxOfTwoClasses,
    DuplicateBox,
    SticksOut,
    TinyBox,
    WholeImage,
    same_boxes,
)
from fcos_lightning.structures import GroundTruth


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return clean(tmp_path)


@pytest.mark.parametrize(
    ("bbox", "code"),
    [
        ([10, 10, 0, 20], "box.no_area"),
        ([10, 10, -5, 20], "box.no_area"),
        ([200, 10, 10, 10], "box.outside"),
        ([-30, 10, 20, 10], "box.outside"),
        ([10, 10, float("nan"), 20], "box.not_finite"),
        ([10, 10, 1e12, 20], "box.too_far"),
        ([20, 50, 1, 9], "box.one_pixel"),
        ([70, 40, 60, 20], "box.sticks_out"),
        ([0, 0, 96, 64], "box.whole_image"),
        ([0.5, 0.3, 95.2, 63.5], "box.whole_image"),
        ([5, 5, 30, 40], "box.duplicate"),
        ([5, 5, 30.5, 40.5], "box.duplicate"),
        ([45, 10, 40, 40], "box.two_classes"),
    ],
)
def test_one_box_that_is_wrong(scene: Scene, bbox: list[float], code: str) -> None:
    # Boxes to the lower right, so that none would be one as corners.
    scene.train.boxes.append(("t0.png", 1, bbox))
    kind = only(scene.examine())
    assert kind.code == code
    finding = one(kind)
    assert finding.file.endswith("instances_train.json")
    assert "'t0.png'" in finding.place and "annotation id 9" in finding.place
    assert finding.split == "train" and finding.image == 0


@pytest.mark.parametrize("bbox", [[20, 50, 2, 9], [70, 40, 27, 20], [2, 1, 94, 63], [5, 5, 30, 36]])
def test_boxes_that_are_near_the_limits(scene: Scene, bbox: list[float]) -> None:
    scene.train.boxes.append(("t0.png", 1, bbox))
    assert set(scene.examine()) <= set(SMALL)


def test_a_crowd_may_lie_around_anything(scene: Scene) -> None:
    scene.train.write(scene.root)
    scene.train.more = {
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 40], "iscrowd": i % 2}
            for i in range(2)
        ]
    }
    assert "box.duplicate" not in scene.examine()


def random_set(seed: int) -> ExaminedSet:
    """Boxes of several images, of which some are nearly the same, tiny, large or outside."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, 7)
    corner = rng.uniform(-8, 80, (counts.sum(), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.3, 60, corner.shape)], axis=1)
    # Every other one is nearly the one before it.
    boxes[1::2] = boxes[: len(boxes) // 2 * 2 : 2] + rng.uniform(-0.4, 0.4, boxes[1::2].shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.2)
    boxes[len(boxes) // 3] = [0, 0, 100, 80]
    truth = GroundTruth(
        image_ids=np.arange(7),
        file_names=np.array([f"{i}.png" for i in range(7)]),
        sizes_hw=np.tile([80, 100], (7, 1)),
        first_box=np.concatenate([[0], np.cumsum(counts)]),
        boxes_xyxy=boxes,
        labels=rng.integers(0, 2, len(boxes)),
        ignored=rng.random(len(boxes)) < 0.1,
        areas_px=np.ones(len(boxes)),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )
    return ExaminedSet("train", DataSplit(truth, Path("/nowhere"), {}, "train"))


def iou(one: list[float], other: list[float]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    along = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or along <= 0:
        return 0.0
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return across * along / (sum(area) - across * along)


@pytest.mark.parametrize("seed", range(12))
def test_against_a_plain_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcos_lightning.evaluation.detections.PAIRS_AT_A_TIME", 5)
    examined = random_set(seed)
    truth = examined.split.truth
    boxes = truth.boxes_xyxy.tolist()
    pairs, tiny, whole, out = [], [], [], []
    for image in range(len(truth)):
        rows = range(*truth.rows(image).indices(len(boxes)))
        for first, second in itertools.combinations(rows, 2):
            ignored = truth.ignored[first] or truth.ignored[second]
            if not ignored and iou(boxes[first], boxes[second]) > 0.95:
                pairs.append((first, second))
        for row in rows:
            x1, y1, x2, y2 = boxes[row]
            tiny += [row] if min(x2 - x1, y2 - y1) <= 1 else []
            out += [row] if min(x1, y1) < -1 or x2 > 101 or y2 > 81 else []
            if x1 <= 1 and y1 <= 0.8 and x2 >= 99 and y2 >= 79.2 and not truth.ignored[row]:
                whole.append(row)
    first, second, _ = same_boxes(examined)
    assert sorted(zip(first, second, strict=True)) == sorted(pairs)
    assert pairs
    data = Examined([examined])

    def boxes_of(check: type) -> list[tuple[float, ...]]:
        return [finding.box for finding in check()(data)]

    def corners(rows: list[int]) -> list[tuple[float, ...]]:
        return [examined.box(row) for row in rows]

    assert boxes_of(TinyBox) == corners(tiny)
    assert boxes_of(WholeImage) == corners(whole)
    assert boxes_of(SticksOut) == corners(out)
    same = {b for a, b in pairs if truth.labels[a] == truth.labels[b]}
    other = {b for a, b in pairs if truth.labels[a] != truth.labels[b]}
    assert sorted(boxes_of(DuplicateBox)) == sorted(corners(list(same)))
    assert sorted(boxes_of(BoxOfTwoClasses)) == sorted(corners(list(other)))


def test_entries_without_a_box_and_of_no_image(scene: Scene) -> None:
    scene.train.write(scene.root)
    file = scene.root / "annotations/instances_train.json"
    tree = json.loads(file.read_text())
    tree["annotations"] += [
        {"id": 70, "image_id": 1, "category_id": 1},
        {"id": 71, "image_id": 999, "category_id": 1, "bbox": [1, 1, 9, 9]},
        {"id": 72, "image_id": 999, "category_id": 1, "bbox": [1, 1, 9, 9]},
    ]
    scene.val.write(scene.root)
    file.write_text(json.dumps(tree))
    kinds = examine(scene.root)
    assert kinds["annotation.no_box"].count == 1
    assert kinds["annotation.no_image"].count == 2


# Stored otherwise


def test_corners_in_the_place_of_sides_are_an_error(scene: Scene) -> None:
    for part in (scene.train, scene.val):
        part.boxes = [
            (name, kind, [box[0], box[1], box[0] + box[2], box[1] + box[3]])
            for name, kind, box in part.boxes
        ]
    kind = scene.examine()["box.order"]
    assert kind.severity == "error" and kind.count == 2
    assert "as x1, y1, x2, y2 none does" in kind.kept[0].message


def test_sides_in_the_place_of_corners(tmp_path: Path) -> None:
    rows = ["filename,xmin,ymin,xmax,ymax,class"]
    (tmp_path / "images").mkdir()
    for number in range(6):
        picture(number).save(tmp_path / f"images/{number}.png")
        rows.append(f"images/{number}.png,{40 + number},20,{30 + number},35,cat")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    kind = examine(tmp_path)["box.order"]
    assert "as x1, y1, width, height none does" in one(kind).message


def test_clicks_say_nothing_of_an_order(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    picture(1).save(tmp_path / "images/a.png")
    rows = ["filename,xmin,ymin,xmax,ymax,class", "images/a.png,5,5,30,40,cat"]
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "images/a.png,5,5,5,40,cat"]))
    assert only(examine(tmp_path)).code == "box.no_area"


@pytest.mark.parametrize(
    ("numbers", "meant"),
    [
        ("0.6 0.5 0.95 0.9", "x1, y1, x2, y2"),
        ("0.05 0.02 0.4 0.5\n0 0.55 0.4 0.3 0.5", "x1, y1, width, height"),
        ("0.5 0.5 0.4 0.4", None),
    ],
)
def test_yolo_stored_otherwise(tmp_path: Path, numbers: str, meant: str | None) -> None:
    for number in range(6):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        picture(number).save(tmp_path / f"images/{number}.png")
        (tmp_path / f"labels/{number}.txt").write_text(f"0 {numbers}\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    kinds = examine(tmp_path)
    assert ("box.order" in kinds) == (meant is not None)
    if meant is not None:
        assert f"as {meant} none does" in one(kinds["box.order"]).message


def test_pixels_in_the_place_of_parts(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    picture(1).save(tmp_path / "images/a.png")
    (tmp_path / "labels/a.txt").write_text("0 40 30 20 20\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    assert examine(tmp_path)["box.pixels"].severity == "error"


def test_parts_in_the_place_of_pixels(scene: Scene) -> None:
    for part in (scene.train, scene.val):
        part.boxes = [
            (name, kind, [box[0] / 96, box[1] / 64, box[2] / 96, box[3] / 64])
            for name, kind, box in part.boxes
        ]
    kinds = scene.examine()
    assert kinds["box.fractions"].severity == "error" and kinds["box.fractions"].count == 2


def test_of_very_many_the_first_are_kept_and_all_are_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("check", "findings", "checks.annotated", "checks.images"):
        monkeypatch.setattr(f"fcos_lightning.doctor.{module}.MOST_KEPT", 3)
    for number in range(7):
        scene.train.boxes.append(("t0.png", 1, [20 + number, 50, 1, 9]))
        scene.train.boxes.append(("t0.png", 1, [20 + number, 50, 0, 9]))
        scene.add(scene.train, f"none{number}.png", picture(700 + number))
    kinds = scene.examine()
    for code in ("box.one_pixel", "box.no_area", "image.no_objects"):
        assert (kinds[code].count, len(kinds[code].kept)) == (7, 3)
        assert kinds[code].splits == {"train": 7}
