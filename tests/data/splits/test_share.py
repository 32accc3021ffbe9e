"""A share is drawn by names: evenly, the same when images come, and never through copies."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcos_lightning.data import ShapesDataModule
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.splits.share import given_share, part_of, read_split, share_of, write_split
from fcos_lightning.errors import UserError
from fcos_lightning.structures import GroundTruth


def split_of(folder: Path, names: list[str]) -> DataSplit:
    number = len(names)
    truth = GroundTruth(
        image_ids=np.arange(number),
        file_names=np.array(names, dtype=np.str_),
        sizes_hw=np.full((number, 2), 8),
        first_box=np.arange(number + 1),
        boxes_xyxy=np.tile(np.arange(number, dtype=float)[:, None], (1, 4)),
        labels=np.arange(number) % 3,
        ignored=np.arange(number) % 2 == 0,
        areas_px=np.arange(number, dtype=float),
        class_names=("a", "b", "c"),
        category_ids=(1, 2, 3),
    )
    return DataSplit(truth, folder, {"x": 1}, "all", ("odd",))


def sides(folder: Path, names: list[str], share: float = 0.2) -> dict[str, bool]:
    return dict(zip(names, share_of(split_of(folder, names), share).tolist(), strict=True))


def test_it_is_about_as_large_as_asked_for(tmp_path: Path) -> None:
    names = [f"IMG_{number:05d}.jpg" for number in range(5000)]
    for share in (0.1, 0.2, 0.5):
        assert abs(np.mean(list(sides(tmp_path, names, share).values())) - share) < 0.02


def test_it_stays_when_images_come_and_go(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(400)]
    before = sides(tmp_path, names[:200])
    after = sides(tmp_path, names[::-1])
    assert before == {name: after[name] for name in before}
    # A larger share holds the smaller one, and another ending changes nothing.
    larger = sides(tmp_path, names, 0.4)
    assert all(larger[name] for name in names if after[name])
    assert sides(tmp_path, [f"{number}.png" for number in range(400)]) == {
        f"{number}.png": after[f"{number}.jpg"] for number in range(400)
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.floats(0.01, 0.99))
def test_there_is_an_image_on_each_side(number: int, share: float) -> None:
    found = sides(Path("nowhere"), [f"{one}" for one in range(number)], share)
    assert 0 < sum(found.values()) < number


def test_augmented_copies_lie_on_one_side(tmp_path: Path) -> None:
    names = [
        f"photo-{picture}_jpg.rf.{copy:032x}.jpg" for picture in range(60) for copy in range(3)
    ]
    found = sides(tmp_path, names)
    for picture in range(60):
        assert len({found[name] for name in names if name.startswith(f"photo-{picture}_")}) == 1
    assert 0 < sum(found.values()) < len(names)
    # One that is exported anew, under another mark, is drawn as before.
    again = [name.replace(".rf.0", ".rf.9") for name in names]
    assert list(sides(tmp_path, again).values()) == list(found.values())


def test_exact_duplicates_lie_on_one_side(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = []
    for picture in range(40):
        image = Image.fromarray(random.integers(0, 255, (4, 4, 3), dtype=np.uint8))
        for name in (f"{picture}.bmp", f"copy of {picture}.bmp", f"sub/{picture}.bmp"):
            os.makedirs(tmp_path / "sub", exist_ok=True)
            image.save(tmp_path / name)
            names.append(name)
    found = sides(tmp_path, names)
    for picture in range(40):
        assert len({found[name] for name in names[3 * picture : 3 * picture + 3]}) == 1
    alone = sides(tmp_path / "nowhere", names)  # where contents cannot be compared
    assert any(
        len({alone[name] for name in names[3 * picture : 3 * picture + 3]}) > 1
        for picture in range(40)
    )
    # Three draws a picture would have chosen half of them.
    assert 2 <= sum(found[name] for name in names[::3]) <= 14
    # A copy whose name comes later changes nothing.
    before = sides(tmp_path, names[::3])
    assert all(found[name] == chosen for name, chosen in before.items())


def test_copies_of_one_picture_cannot_be_shared_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"copies of one picture.*data\.val_split"):
        sides(tmp_path, ["a_jpg.rf.1.jpg", "a_jpg.rf.2.jpg"])


def test_what_is_taken_keeps_its_boxes(tmp_path: Path) -> None:
    split = split_of(tmp_path, ["a", "b", "c", "d"])
    some = split.kept(np.array([False, True, False, True]), "some", counted=False)
    assert some.truth.file_names.tolist() == ["b", "d"]
    assert some.truth.boxes_xyxy[:, 0].tolist() == [1, 3]
    assert some.truth.labels.tolist() == [1, 0]
    assert some.truth.first_box.tolist() == [0, 1, 2]
    assert some.classes == split.classes and some.dropped == {} and some.remarks == ()
    assert split.kept(np.array([True, False, False, False]), "x", counted=True).remarks == ("odd",)


def test_what_is_written_down_comes_back(tmp_path: Path) -> None:
    split = split_of(tmp_path, ["a.jpg", "${b}", "ü"])
    file = tmp_path / "split.json"
    for_training = np.array([True, False, True])
    write_split(split.kept(for_training, "t", True), split.kept(~for_training, "v", False), file)
    kept = read_split(file)
    assert kept == {"a.jpg": "train", "ü": "train", "${b}": "val"}
    assert given_share(split, kept, file).tolist() == [False, True, False]
    with pytest.raises(UserError, match=r"no longer there, the first is '\$\{b\}'"):
        given_share(split.kept(for_training, "t", True), kept, file)
    for content in ("", "[]", '{"train": 1, "val": 2}', '{"train": []}', "[" * 100_000):
        file.write_text(content)
        with pytest.raises(UserError, match="does not say which"):
            read_split(file)


def part(names: list[str], share: float) -> set[str]:
    chosen = part_of(split_of(Path("none"), names), share)
    return {name for name, one in zip(names, chosen.tolist(), strict=True) if one}


def test_parts_to_learn_from_are_nested_and_of_names_alone(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(2000)]
    parts = [part(names, share) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [round(len(one) / 2000, 1) for one in parts[:1]] == [0.1] and len(parts[3]) == 2000
    assert all(smaller < larger for smaller, larger in pairwise(parts))
    assert abs(len(parts[1]) - 500) < 60
    few = names[::-3]
    assert part(few, 0.25) == parts[1] & set(few)  # whoever else is there, and in any order
    # What is left by a share for validation is drawn from as evenly as all.
    val = sides(tmp_path, names, 0.5)
    left = [name for name in names if not val[name]]
    assert abs(len(part(left, 0.25)) - len(left) / 4) < 60


def test_of_few_images_a_part_has_one() -> None:
    assert len(part(["a.jpg", "b.jpg", "c.jpg"], 1e-9)) == 1
    copies = [f"x_jpg.rf.{number:02x}.jpg" for number in range(4)]
    assert len(part([*copies, "y.jpg"], 1e-9)) in (1, 4)
    assert part(["a.jpg"], 1e-9) == {"a.jpg"}


def drawn(root: Path, **options: object) -> ShapesDataModule:
    words: dict[str, object] = {"train_images": 40, "val_images": 4, "image_px": 32}
    return ShapesDataModule(
        root, **{**words, "train_split": "train", "val_split": "val", **options}
    )  # type: ignore[arg-type]


def test_a_data_module_learns_from_a_share_with_all_the_classes(tmp_path: Path) -> None:
    whole, some = (drawn(tmp_path / "shapes", train_share=share) for share in (1.0, 0.1))
    names = [set(one.train.truth.file_names.tolist()) for one in (whole, some)]
    assert names[1] == part(sorted(names[0]), 0.1) and 1 <= len(names[1]) < 15
    assert some.train.classes == whole.train.classes and len(some.val) == len(whole.val) == 4
    assert some.batches_per_epoch < whole.batches_per_epoch
    with pytest.raises(UserError, match=r"data\.train_share=0: give a number above 0"):
        drawn(tmp_path / "shapes", train_share=0)


def test_a_share_of_what_a_split_leaves_is_found_again(tmp_path: Path) -> None:
    options = {"val_split": None, "train_share": 0.5}
    first = drawn(tmp_path / "shapes", **options)
    names = set(first.train.truth.file_names.tolist())
    assert not names & set(first.val.truth.file_names.tolist())
    assert len(names) < 40 - len(first.val)
    first.write_split(tmp_path / "split.json")
    again = drawn(tmp_path / "shapes", **options)
    again.use_split(tmp_path / "split.json")
    assert set(again.train.truth.file_names.tolist()) == names
