"""Images that are there twice: copies are found, other pictures are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from tests.doctor.data_sets import Scene, clean, one, only, picture

from fcos_lightning.data.shapes.drawn import write_shapes
from fcos_lightning.doctor.copies import groups_alike, same_picture
from fcos_lightning.doctor.image_facts import perceptual_hash


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return clean(tmp_path)


def test_the_same_file_twice_in_a_set(scene: Scene) -> None:
    scene.add(scene.train, "copy.png", picture(2), [5, 5, 30, 30])
    kind = only(scene.examine())
    assert kind.code == "image.duplicate" and kind.severity == "warning"
    assert one(kind).like == ("train", 2) and one(kind).file.endswith("copy.png")


def test_the_same_file_in_two_sets_is_an_error(scene: Scene) -> None:
    scene.add(scene.val, "other name.png", picture(2), [5, 5, 30, 30])
    kind = only(scene.examine())
    assert kind.code == "split.shared" and kind.severity == "error"
    assert one(kind).split == "val" and one(kind).like == ("train", 2)


def again(image: Image.Image, how: str) -> Image.Image:
    changed = {
        "smaller": lambda: image.resize((image.width // 2, image.height // 2)),
        "larger": lambda: image.resize((image.width * 3, image.height * 3)),
        "brighter": lambda: ImageEnhance.Brightness(image).enhance(1.05),
    }
    return changed[how]()


@pytest.mark.parametrize("how", ["smaller", "larger", "brighter"])
@pytest.mark.parametrize("of", ["train", "val"])
def test_a_picture_that_was_changed_a_little(scene: Scene, how: str, of: str) -> None:
    part = scene.train if of == "train" else scene.val
    scene.add(part, "again.png", again(picture(2), how), [5, 5, 20, 20])
    kind = only(scene.examine(), "box.one_pixel")
    assert kind.code == ("image.near_duplicate" if of == "train" else "split.near")
    assert one(kind).like == ("train", 2)


def test_a_picture_compressed_anew(scene: Scene) -> None:
    scene.file("again.jpg", "val").parent.mkdir(exist_ok=True)
    picture(2).save(scene.file("again.jpg", "val"), quality=60)
    scene.val.images["again.jpg"] = (96, 64)
    assert only(scene.examine(), "image.no_objects").code == "split.near"


def test_roboflow_s_copies_within_a_set_are_meant(scene: Scene) -> None:
    for mark, factor in (("a", 1.0), ("b", 1.04)):
        name = f"pic_png.rf.{mark * 32}.png"
        image = ImageEnhance.Brightness(picture(60)).enhance(factor)
        scene.add(scene.train, name, image, [5, 5, 20, 20])
    assert "image.near_duplicate" not in scene.examine()


def grey(image: Image.Image) -> tuple[int, np.ndarray]:
    tiny = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX))
    small = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX))
    return perceptual_hash(tiny), small


def test_groups_against_all_pairs() -> None:
    """A few hundred pictures, of some a changed copy: the same groups as by comparing all."""
    images = [picture(seed) for seed in range(150)]
    images += [again(images[seed], "smaller") for seed in range(0, 60, 3)]
    images += [again(images[seed], "brighter") for seed in range(0, 30, 3)]
    pairs = [grey(image) for image in images]
    hashes = np.array([one for one, _ in pairs], dtype=np.uint64)
    small = np.stack([one for _, one in pairs])
    found = groups_alike(hashes, small)
    near = [
        (a, b)
        for a in range(len(images))
        for b in range(a)
        if bin(int(hashes[a]) ^ int(hashes[b])).count("1") <= 4 and same_picture(small[a], small[b])
    ]
    group_of = {row: number for number, group in enumerate(found) for row in group}
    assert near and all(group_of.get(a, -1) == group_of.get(b, -2) for a, b in near)
    # None of the pictures is another one, and each copy is found.
    originals = [row % 150 if row < 150 else 3 * (row - 150) for row in range(170)]
    originals += [3 * (row - 170) for row in range(170, 180)]
    assert all(len({originals[row] for row in group}) == 1 for group in found)
    assert sorted(map(len, found)) == [2] * 10 + [3] * 10


def test_pictures_of_one_kind_are_not_taken_for_copies(tmp_path: Path) -> None:
    write_shapes(tmp_path, train=150, val=2, size=64, seed=0)
    pairs = [grey(Image.open(file)) for file in sorted((tmp_path / "train").iterdir())]
    hashes = np.array([one for one, _ in pairs], dtype=np.uint64)
    assert groups_alike(hashes, np.stack([one for _, one in pairs])) == []


def test_many_pictures_of_one_hash_take_no_square_of_time() -> None:
    rng = np.random.default_rng(0)
    hashes = np.zeros(20_000, dtype=np.uint64)
    small = rng.integers(0, 256, (20_000, 2, 2), dtype=np.uint8)
    calls = 0

    def counted(*_: object) -> bool:
        nonlocal calls
        calls += 1
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcos_lightning.doctor.copies.same_picture", counted)
        patch.setattr("fcos_lightning.doctor.copies._MOST_ALIKE", 3)
        groups_alike(hashes, small)
    assert calls <= 20_000 * 3 * 5


def test_the_same_set_twice(tmp_path: Path, scene: Scene) -> None:
    shutil.rmtree(tmp_path / "val")
    shutil.copytree(tmp_path / "train", tmp_path / "val")
    scene.val.images, scene.val.boxes = dict(scene.train.images), list(scene.train.boxes)
    kind = only(scene.examine())
    assert kind.code == "split.shared" and kind.count == 4
