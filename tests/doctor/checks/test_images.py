"""Image files: each finding has a data set that has it, and the clean one has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import ExifTags, Image
from tests.doctor.data_sets import SMALL, Scene, clean, one, only, picture

from fcos_lightning.doctor.image_facts import look_at_images


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return clean(tmp_path)


def test_nothing_is_wrong_with_a_clean_data_set(scene: Scene) -> None:
    assert set(scene.examine()) <= set(SMALL)


def test_an_image_that_is_not_there(scene: Scene) -> None:
    scene.file("t1.png").unlink()
    finding = one(only(scene.examine()))
    assert finding.file == str(scene.file("t1.png").resolve()) and finding.split == "train"


def test_all_that_are_not_there_are_told(scene: Scene) -> None:
    for name in ("t1.png", "t2.png"):
        scene.file(name).unlink()
    kind = only(scene.examine())
    assert kind.code == "image.missing" and kind.severity == "error" and kind.count == 2


def test_an_empty_file(scene: Scene) -> None:
    scene.file("t1.png").write_bytes(b"")
    kind = only(scene.examine())
    assert kind.code == "image.empty" and "0 bytes" in one(kind).message


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_image(scene: Scene, ending: str) -> None:
    path = scene.add(scene.train, f"cut.{ending}", picture(7, (300, 200)), [9, 9, 50, 50])
    path.write_bytes(path.read_bytes()[:-2000])
    kind = only(scene.examine())
    assert kind.code == "image.unreadable" and one(kind).file == str(path.resolve())


def test_a_file_that_is_no_image(scene: Scene) -> None:
    scene.file("t0.png").write_text("<html>404</html>")
    assert only(scene.examine()).code == "image.unreadable"


def test_an_image_of_another_size(scene: Scene) -> None:
    scene.train.images["t2.png"] = (100, 64)
    finding = one(only(scene.examine()))
    assert finding.message == "is 96 x 64 pixels, annotated as 100 x 64"


def test_width_and_height_exchanged_by_exif(scene: Scene) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    scene.file("turned.jpg").parent.mkdir(exist_ok=True)
    picture(8).save(scene.file("turned.jpg"), exif=exif)
    scene.train.images["turned.jpg"] = (64, 96)
    scene.train.boxes.append(("turned.jpg", 1, [5, 5, 30, 30]))
    kinds = scene.examine()
    assert one(kinds["image.turned"]).message == "has EXIF orientation 6"
    assert one(kinds["image.size"]).message.endswith("annotated as 64 x 96; EXIF turns it")


def test_an_ending_that_is_another_format_s(scene: Scene) -> None:
    picture(1).save(scene.file("t1.png"), format="JPEG")
    finding = one(only(scene.examine()))
    assert finding.message == "ends in .png, and is JPEG"


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jpg", "JPEG"),
        ("a.JPEG", "JPEG"),
        ("a.jfif", "JPEG"),
        ("a.tif", "TIFF"),
        ("a.pgm", "PPM"),
    ],
)
def test_endings_that_are_right(scene: Scene, name: str, format: str) -> None:
    path = scene.file(name)
    path.parent.mkdir(exist_ok=True)
    picture(3, (80, 50)).convert("L" if format == "PPM" else "RGB").save(path, format=format)
    scene.train.images[name] = (80, 50)
    scene.train.boxes.append((name, 1, [5, 5, 30, 30]))
    assert "image.ending" not in scene.examine()


@pytest.mark.parametrize(("noise", "blank"), [(0, True), (60, False)])
def test_an_image_of_one_colour(scene: Scene, noise: int, blank: bool) -> None:
    image = Image.new("RGB", (60, 60), (90, 90, 90))
    image.paste((90 + noise,) * 3, (20, 20, 30, 30))
    scene.add(scene.train, "flat.png", image, [5, 5, 30, 30])
    assert ("image.blank" in scene.examine()) == blank


def test_an_image_without_a_box_is_a_note(scene: Scene) -> None:
    scene.add(scene.train, "none.png", picture(50))
    kind = scene.examine()["image.no_objects"]
    assert kind.severity == "note" and one(kind).file.endswith("none.png")


def test_an_image_beyond_the_limit_is_not_decoded(scene: Scene) -> None:
    from tests.doctor.data_sets import examine

    for part in (scene.train, scene.val):
        part.write(scene.root)
    kinds = examine(scene.root, max_pixels=96 * 64 - 1)
    assert kinds["image.too_large"].count == 6 and "image.unreadable" not in kinds


def test_each_image_is_counted_once_for_the_bar(scene: Scene) -> None:
    from tests.doctor.data_sets import looked_at

    scene.file("t0.png").unlink()
    for part in (scene.train, scene.val):
        part.write(scene.root)
    calls: list[None] = []
    data = looked_at(scene.root, lambda: calls.append(None))
    assert len(calls) == 6
    facts = look_at_images(data.train.split, 10**8)
    assert facts.missing == [0] and facts.seen.tolist() == [False, True, True, True]
