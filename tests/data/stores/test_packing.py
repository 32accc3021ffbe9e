"""Shards: what is packed is what was there, for this package and for others."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.layouts import LAYOUTS

from fcos_lightning.data import AutoDataModule, CocoDataModule, DetectionDataModule, VocDataModule
from fcos_lightning.data.batches.sampler import epoch_batches
from fcos_lightning.data.batches.windows import windows_of
from fcos_lightning.data.shapes.drawn import write_shapes
from fcos_lightning.data.splits import Classes
from fcos_lightning.data.stores.packed_index import INDEX
from fcos_lightning.data.stores.packing import Packer
from fcos_lightning.data.stores.places import place_of
from fcos_lightning.data.stores.shards import ShardStore
from fcos_lightning.errors import UserError
from fcos_lightning.runs.same_data import digests

SMALL: dict[str, Any] = {"batch_size": 8, "num_workers": 0, "shorter_side": 64, "longer_side": 64}


def packed(data: DetectionDataModule, out: Path | str, shard_bytes: int = 20_000) -> None:
    packer = Packer(place_of(out, "out"), shard_bytes)
    packer.pack(data.whole_splits(), (data.found or "x").split(":")[0], data.protocol)


def same_batches(ours: DetectionDataModule, theirs: DetectionDataModule) -> None:
    pairs = [(ours.train_dataloader(), theirs.train_dataloader())]
    pairs.append((ours.val_dataloader(), theirs.val_dataloader()))
    for one, other in pairs:
        for mine, yours in zip(one, other, strict=True):
            assert torch.equal(mine.images.pixels, yours.images.pixels)
            assert torch.equal(mine.targets.boxes_xyxy, yours.targets.boxes_xyxy)
            assert torch.equal(mine.targets.labels, yours.targets.labels)
            assert torch.equal(mine.image_ids, yours.image_ids)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("drawn") / "data", train=60, val=12, size=64)


@pytest.fixture(scope="module")
def shards(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "packed"
    packed(AutoDataModule(drawn), out)
    return out


def test_batches_are_those_of_the_folder(drawn: Path, shards: Path) -> None:
    ours, theirs = AutoDataModule(drawn, **SMALL), AutoDataModule(shards, **SMALL)
    same_batches(ours, theirs)
    assert digests(ours) == digests(theirs)  # so that a run may go on with either
    assert len(list(shards.glob("train-*.tar"))) > 5
    assert theirs.found is not None and theirs.found.startswith("shards, packed from COCO's own")
    assert "train (60 images in" in theirs.found


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_is_read_as_before(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path / "data")
    ours = AutoDataModule(tmp_path / "data", **(SMALL | {"batch_size": 2}))
    packed(ours, tmp_path / "out", shard_bytes=3000)
    theirs = AutoDataModule(tmp_path / "out", **(SMALL | {"batch_size": 2}))
    assert (ours.val_split, ours.test_split) == (
        theirs.find_splits().val,
        theirs.find_splits().test,
    )
    same_batches(ours, theirs)  # the share that is split off among them
    assert digests(ours) == digests(theirs) and ours.protocol == theirs.protocol
    assert ours.train.remarks == theirs.train.remarks


def test_other_tools_find_samples_in_it(drawn: Path, shards: Path) -> None:
    """WebDataset: members whose names are the same up to the first point make a sample."""
    data = AutoDataModule(drawn).train
    seen = []
    for file in sorted(shards.glob("train-*.tar")):
        with tarfile.open(file) as archive:
            members = archive.getmembers()
            assert all(one.isreg() and (one.mtime, one.uid) == (0, 0) for one in members)
            for image, about in zip(members[::2], members[1::2], strict=True):
                key, ending = image.name.split(".")
                assert about.name == f"{key}.json" and ending == "jpg"
                told = json.load(archive.extractfile(about))  # type: ignore[arg-type]
                content = archive.extractfile(image).read()  # type: ignore[union-attr]
                position = int(key)
                seen.append(position)
                assert content == data.path(position).read_bytes()
                assert told["file_name"] == data.truth.file_names[position]
                assert [told["height"], told["width"]] == data.truth.sizes_hw[position].tolist()
                boxes = np.array([box["bbox"] for box in told["boxes"]]).reshape(-1, 4)
                boxes[:, 2:] += boxes[:, :2]
                rows = data.truth.rows(position)
                assert np.allclose(boxes, data.truth.boxes_xyxy[rows])
                names = [box["category"] for box in told["boxes"]]
                labels = data.truth.labels[rows]
                assert names == [data.truth.class_names[label] for label in labels]
    assert seen == list(range(60))


def test_offsets_are_those_of_the_archive(shards: Path) -> None:
    store = AutoDataModule(shards).train.elsewhere
    assert isinstance(store, ShardStore)
    for number, shard in enumerate(store.shards):
        assert (shards / shard.name).stat().st_size == shard.size
        with tarfile.open(shards / shard.name) as archive:
            images = [one for one in archive.getmembers() if one.name.endswith(".jpg")]
        mine = store.rows.shard == number
        assert store.rows.offset[mine].tolist() == [one.offset_data for one in images]
        assert store.rows.length[mine].tolist() == [one.size for one in images]


def test_packing_twice_gives_the_same_bytes(drawn: Path, shards: Path, tmp_path: Path) -> None:
    packed(AutoDataModule(drawn), tmp_path / "again")
    for file in shards.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_nothing_is_overwritten_and_nothing_half_done_stays(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="holds something already"):
        packed(AutoDataModule(drawn), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]
    broken = write_shapes(tmp_path / "broken", train=12, val=4, size=64)
    victim = AutoDataModule(broken).train.path(10)
    Image.new("RGB", (30, 20)).save(victim)
    with pytest.raises(UserError, match=rf"{victim.name} is 30 x 20 pixels, but annotated as 64 x"):
        packed(AutoDataModule(broken), tmp_path / "out", shard_bytes=3000)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bad_image_may_be_packed_and_passed_over(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "data", train=12, val=4, size=64)
    AutoDataModule(root).train.path(3).write_bytes(b"no image")
    splits = AutoDataModule(root, on_bad_image="skip").whole_splits()
    Packer(place_of(tmp_path / "out", "out"), 3000, skip_bad=True).pack(splits, "x", "coco")
    options = SMALL | {"on_bad_image": "skip", "batch_size": 4}
    ours, theirs = AutoDataModule(root, **options), AutoDataModule(tmp_path / "out", **options)
    same_batches(ours, theirs)
    unreadable = [name for batch in theirs.train_dataloader() for name in batch.unreadable]
    (number,) = [place for place in range(12) if theirs.train.images.read(place) == b"no image"]
    assert unreadable == [theirs.train.images.name(number)] and ".tar: " in unreadable[0]


# What may be wrong with a place


def damaged(shards: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    out.mkdir()
    for file in shards.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tree = json.loads((out / INDEX).read_text())
    change(tree)
    (out / INDEX).write_text(json.dumps(tree))
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(fcos_shards=2), "is of version 2"),
        (lambda t: t["sets"][0]["shards"][0].update(name="../../x"), "no name of a file"),
        (lambda t: t["sets"][0].update(columns="/etc/passwd"), "no name of a file"),
        (lambda t: t["sets"][0]["shards"][0].update(name=".hidden"), "no name of a file"),
        (lambda t: t["sets"][0].update(images=61), "has the shape"),
        (lambda t: t["sets"][0].update(images=True), "no whole number"),
        (lambda t: t["sets"][0].update(digest="00"), "of another packing"),
        (lambda t: t["sets"][0]["shards"].pop(), "in no shard"),
        (lambda t: t["sets"][0]["shards"][0].update(size=10), "outside its shard"),
        (lambda t: t.update(class_names=["a"], category_ids=[1]), "of no class"),
        (lambda t: t.update(category_ids=[1]), "do not match"),
        (lambda t: t.pop("sets"), "sets"),
        (lambda t: t["sets"][0].update(columns="gone.npz"), "is missing"),
    ],
)
def test_an_index_that_lies_is_refused(
    change: Callable[[dict[str, Any]], object], said: str, shards: Path, tmp_path: Path
) -> None:
    place = damaged(shards, tmp_path / "copy", change)
    with pytest.raises(UserError, match=said) as caught:
        _ = AutoDataModule(place).train
    assert str(place) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_an_index_that_is_no_json_is_refused(content: bytes, shards: Path, tmp_path: Path) -> None:
    place = damaged(shards, tmp_path / "copy", lambda _: None)
    (place / INDEX).write_bytes(content)
    with pytest.raises(UserError, match="no JSON, or is cut short"):
        _ = AutoDataModule(place).train


def test_columns_that_unpack_to_too_much_are_refused(shards: Path, tmp_path: Path) -> None:
    from fcos_lightning.data.stores.packed_index import digest_of

    out = io.BytesIO()
    np.savez_compressed(out, shard=np.zeros(50_000_000, dtype=np.int32))
    place = damaged(
        shards,
        tmp_path / "copy",
        lambda t: t["sets"][0].update(digest=digest_of(out.getvalue()).hex()),
    )
    (place / "train.npz").write_bytes(out.getvalue())
    with pytest.raises(UserError, match="more than it can hold"):
        _ = AutoDataModule(place).train


def test_a_changed_byte_of_an_image_is_noticed(shards: Path, tmp_path: Path) -> None:
    place = damaged(shards, tmp_path / "copy", lambda _: None)
    store = AutoDataModule(place).train.elsewhere
    assert isinstance(store, ShardStore)
    shard = place / store.shards[0].name
    content = bytearray(shard.read_bytes())
    content[int(store.rows.offset[1]) + 9] ^= 1
    shard.write_bytes(content)
    assert store.read(0) and store.read(2)
    with pytest.raises(UserError, match=r"train-000000\.tar: .* is damaged in its shard"):
        store.read(1)
    shard.unlink()
    with pytest.raises(UserError, match=r"train-000000\.tar cannot be read: No such file"):
        store.read(0)


def test_a_folder_of_other_archives_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text('{"shards": []}')
    with pytest.raises(UserError, match=r"no data set was found.*shards\.json of fcos-pack"):
        _ = AutoDataModule(tmp_path).train


# Options


def test_by_any_name_and_with_a_checkpoints_classes(shards: Path) -> None:
    for kind in (CocoDataModule, VocDataModule):
        data = kind(shards, train_split="train", val_split="val")
        assert len(data.train) == 60 and data.protocol == "coco"
    names = AutoDataModule(shards).train.classes.names
    turned = Classes(tuple(reversed(names)), tuple(range(10, 10 + len(names))))
    data = AutoDataModule(shards)
    before, after = data.read("val", None), data.read("val", turned)
    assert after.classes == turned
    assert (len(names) - 1 - before.truth.labels).tolist() == after.truth.labels.tolist()
    with pytest.raises(UserError, match=r"set val: class '.*' is none of the 1 known: ring"):
        data.read("val", Classes(("ring",), (1,)))
    with pytest.raises(UserError, match="was packed with the classes"):
        _ = AutoDataModule(shards, class_names=["a"]).train
    with pytest.raises(UserError, match="has no set of images called dev; there are train, val"):
        data.read("dev", None)


def test_strict_says_what_was_left_out(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "data", train=4, val=2, size=64)
    file = root / "annotations" / "instances_train.json"
    tree = json.loads(file.read_text())
    tree["annotations"][0]["bbox"][2] = 0
    file.write_text(json.dumps(tree))
    packed(AutoDataModule(root), tmp_path / "out")
    data = AutoDataModule(tmp_path / "out", strict=True)
    with pytest.raises(UserError, match="1 boxes of train were left out when it was packed"):
        data.read("train", None)
    split = AutoDataModule(tmp_path / "out").read("train", None)
    assert split.notes() == ["1 boxes of zero or negative size: left out"]


def test_a_window_of_a_folder_is_refused(drawn: Path) -> None:
    with pytest.raises(UserError, match=r"data\.shuffle_window=3: the images of train are in no"):
        _ = AutoDataModule(drawn, shuffle_window=3).train
    for key, value in (("shuffle_window", 0), ("cache_gb", -1.0), ("cache_gb", float("nan"))):
        with pytest.raises(UserError, match=rf"data\.{key}={value}"):
            AutoDataModule(drawn, **{key: value})


def test_a_window_is_what_the_sampler_uses(shards: Path) -> None:
    data = AutoDataModule(shards, shuffle_window=2, **SMALL)
    split = data.train
    windows = windows_of(split, 2)
    assert windows is not None and not windows.is_whole
    wide = split.truth.sizes_hw[:, 1] > split.truth.sizes_hw[:, 0]
    expected = epoch_batches(wide, 8, 0, 0, windows=windows)
    found = [batch.image_ids.tolist() for batch in data.train_dataloader()]
    assert found == split.truth.image_ids[expected].tolist()
    whole = AutoDataModule(shards, shuffle_window=10_000, **SMALL)
    plain = AutoDataModule(shards, **SMALL)
    pairs = zip(whole.train_dataloader(), plain.train_dataloader(), strict=True)
    assert all(torch.equal(one.image_ids, other.image_ids) for one, other in pairs)
