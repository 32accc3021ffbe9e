"""Classes: each finding has a data set that has it and one that has not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.doctor.data_sets import Scene, clean, examine, one, only, picture


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return clean(tmp_path)


def yolo(root: Path, names: list[str], numbers: list[int]) -> None:
    """An image for each number, with one box of that class."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    for place, number in enumerate(numbers):
        picture(place).save(root / f"images/{place}.png")
        (root / f"labels/{place}.txt").write_text(f"{number} 0.5 0.5 0.4 0.4\n")


@pytest.mark.parametrize("numbers", [[1, 2, 3], [3, 3, 1]])
def test_numbers_of_classes_from_1(tmp_path: Path, numbers: list[int]) -> None:
    yolo(tmp_path, ["cat", "dog", "cow"], numbers)
    kinds = examine(tmp_path)
    assert kinds["class.off_by_one"].severity == "error"
    assert (
        "the classes are 0 to 2, those of the boxes 1 to 3"
        in one(kinds["class.off_by_one"]).message
    )
    assert kinds["class.unknown"].count == numbers.count(3)
    assert kinds["class.unknown"].kept[0].place == "line 1"


def test_an_unknown_class_that_is_no_shift(tmp_path: Path) -> None:
    yolo(tmp_path, ["cat", "dog", "cow"], [0, 1, 7])
    kinds = examine(tmp_path)
    assert "class.off_by_one" not in kinds and kinds["class.unknown"].count == 1


def test_numbers_of_classes_from_0_where_categories_begin_at_1(scene: Scene) -> None:
    scene.train.boxes = [(name, kind - 1, box) for name, kind, box in scene.train.boxes]
    scene.val.boxes = [(name, kind - 1, box) for name, kind, box in scene.val.boxes]
    kinds = scene.examine()
    assert "those of the boxes 0 to 1" in one(kinds["class.off_by_one"]).message


def test_a_class_that_no_box_has(scene: Scene) -> None:
    for part in (scene.train, scene.val):
        part.categories[3] = "cow"
    assert one(only(scene.examine())).message == "cow has no box in any set"


def test_rare_classes_are_one_note_the_rarest_first(scene: Scene) -> None:
    scene.train.boxes.append(("t0.png", 2, [50, 30, 20, 20]))
    kind = scene.examine()["class.rare"]
    assert kind.severity == "note"
    assert [one.message for one in kind.kept] == ["cat: 4 boxes", "dog: 5 boxes"]


def test_a_class_that_is_measured_and_not_learnt(scene: Scene) -> None:
    for part in (scene.train, scene.val):
        part.categories[3] = "cow"
    scene.val.boxes.append(("v0.png", 3, [50, 30, 20, 20]))
    finding = one(only(scene.examine()))
    assert finding.split == "val" and finding.message.startswith("cow: 1 boxes here")


def test_names_that_differ_in_capitals_alone(scene: Scene) -> None:
    for part in (scene.train, scene.val):
        part.categories = {1: "traffic light", 2: "Traffic_Light"}
    assert only(scene.examine()).code == "class.same_name"


@pytest.mark.parametrize(("with_dogs", "found"), [(40, True), (5, False)])
def test_a_class_that_is_more_frequent_in_one_set(
    tmp_path: Path, with_dogs: int, found: bool
) -> None:
    scene = clean(tmp_path)
    for number in range(60):
        for part, dogs in ((scene.train, 5), (scene.val, with_dogs)):
            of = part.name == "val"
            name = f"{part.name}{number}.png"
            scene.add(part, name, picture(1000 * of + 200 + number), [5, 5, 30, 30])
            if number < dogs:
                part.boxes.append((name, 2, [40, 20, 40, 40]))
    kinds = scene.examine()
    assert ("class.shift" in kinds) == found
    if found:
        assert one(kinds["class.shift"]).message.startswith("dog: on 6")


def test_a_training_set_without_a_box(scene: Scene) -> None:
    assert "class.nothing_to_learn" not in scene.examine()
    scene.train.boxes.clear()
    kind = scene.examine()["class.nothing_to_learn"]
    assert kind.severity == "error" and one(kind).split.endswith("train")
