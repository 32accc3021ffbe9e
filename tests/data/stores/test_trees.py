"""Folders on a real S3 server: what the folder on this machine gives, whatever the server does."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.layouts import LAYOUTS
from tests.object_storage import Answer, Fault, ObjectStorage, busy, object_storage, put, upload

from fcos_lightning.data import AutoDataModule
from fcos_lightning.data.modules import CocoDataModule, ShapesDataModule, VocDataModule
from fcos_lightning.data.stores import patience
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.data.stores.trees import listing, mirror, objects
from fcos_lightning.data.stores.trees.remote_images import RemoteImages
from fcos_lightning.errors import UserError
from fcos_lightning.storage.caches import waiting_for

SMALL: dict[str, Any] = {"batch_size": 4, "num_workers": 0, "shorter_side": 32, "longer_side": 64}
#: One of each kind, for what costs more than a look.
THREE = ("coco_official", "voc_official", "yolo_roboflow")


@pytest.fixture(scope="module")
def served() -> Iterator[ObjectStorage]:
    with object_storage() as server:
        yield server


@pytest.fixture(autouse=True)
def own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: ObjectStorage
) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.2)
    yield tmp_path / "cache" / "fcos-lightning"
    served.fault = None


@pytest.fixture
def data(request: pytest.FixtureRequest, tmp_path: Path, served: ObjectStorage) -> tuple[Path, str]:
    """A layout as a folder and at an address of the same name."""
    layout = getattr(request, "param", "coco_official")
    folder = tmp_path / layout
    folder.mkdir()
    LAYOUTS[layout](folder)
    address = f"s3://bucket/sets/{layout}"
    upload(folder, address)
    served.asked.clear()
    return folder, address


def asked_for(served: ObjectStorage, *endings: str) -> Counter[str]:
    """How often each object was asked for its content."""
    return Counter(one for one in served.asked if one.startswith("GET") and one.endswith(endings))


def same(ours: AutoDataModule, theirs: AutoDataModule) -> None:
    pairs = [(ours.train_dataloader(), theirs.train_dataloader())]
    pairs.append((ours.val_dataloader(), theirs.val_dataloader()))
    for one, other in pairs:
        for mine, yours in zip(one, other, strict=True):
            assert torch.equal(mine.images.pixels, yours.images.pixels)
            assert torch.equal(mine.image_ids, yours.image_ids)


def same_truth(ours: AutoDataModule, theirs: AutoDataModule) -> None:
    assert ours.found == theirs.found
    for one, other in zip(ours.whole_splits(), theirs.whole_splits(), strict=True):
        for key in ("image_ids", "file_names", "sizes_hw", "boxes_xyxy", "labels", "ignored"):
            assert np.array_equal(getattr(one.truth, key), getattr(other.truth, key)), key
        assert one.truth.class_names == other.truth.class_names
        assert (one.name, one.dropped, one.annotated) == (
            other.name,
            other.dropped,
            other.annotated,
        )
        assert len(one.remarks) == len(other.remarks)
        assert [other.images.read(i) for i in range(len(one))] == [
            one.images.read(i) for i in range(len(one))
        ]


# The same as from the folder


@pytest.mark.parametrize("data", LAYOUTS, indirect=True)
def test_every_layout_is_read_as_the_folder_is(
    data: tuple[Path, str], served: ObjectStorage, own_cache: Path
) -> None:
    folder, address = data
    theirs = AutoDataModule(address)
    same_truth(AutoDataModule(folder), theirs)
    said = [text for split in theirs.whole_splits() for text in split.remarks]
    assert str(own_cache) not in " ".join(said)
    # Nothing is asked for twice, and a second start asks for the listing alone.
    assert set(asked_for(served, ".json", ".xml", ".txt", ".csv", ".yaml").values()) <= {1}
    served.asked.clear()
    _ = AutoDataModule(address).whole_splits()
    content = asked_for(served, ".json", ".xml", ".txt", ".csv", ".yaml", ".jpg", ".png")
    assert not [one for one in content if not one.endswith("/shards.json")]


@pytest.mark.parametrize("data", THREE, indirect=True)
def test_batches_are_those_of_the_folder(data: tuple[Path, str], served: ObjectStorage) -> None:
    folder, address = data
    theirs = AutoDataModule(address, **SMALL)
    same(AutoDataModule(folder, **SMALL), theirs)
    # Reading ahead shares the cache: nobody brings what another one has.
    assert set(asked_for(served, ".jpg").values()) == {1}
    served.asked.clear()
    same(AutoDataModule(folder, **SMALL), theirs)
    assert not asked_for(served, ".jpg")


@pytest.mark.parametrize("data", THREE, indirect=True)
def test_nothing_is_kept_of_images_without_a_cache(
    data: tuple[Path, str], served: ObjectStorage, own_cache: Path
) -> None:
    folder, address = data
    same(AutoDataModule(folder, **SMALL), AutoDataModule(address, cache_gb=0, **SMALL))
    assert not (own_cache / "remote").exists()


@pytest.mark.parametrize("data", ["coco_cvat", "yolo_cvat", "csv_plain"], indirect=True)
def test_a_share_is_split_off_as_of_the_folder(
    data: tuple[Path, str], served: ObjectStorage
) -> None:
    folder, address = data
    images = sorted(folder.rglob("a.jpg"))[0]
    twin = images.with_name("v1.jpg")  # byte for byte: both have to lie on one side
    twin.write_bytes(images.read_bytes())
    upload(folder, address)
    served.asked.clear()
    ours, theirs = AutoDataModule(folder, val_share=0.4), AutoDataModule(address, val_share=0.4)
    assert ours.val.truth.file_names.tolist() == theirs.val.truth.file_names.tolist()
    assert ours.train.images.duplicates() or ours.val.images.duplicates()
    assert theirs.train.images.duplicates() == ours.train.images.duplicates()
    assert theirs.val.images.duplicates() == ours.val.images.duplicates()


@pytest.mark.parametrize("version", ["as:%d", "md5:%032x"])
def test_copies_are_found_where_versions_say_nothing(
    version: str, tmp_path: Path, served: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of uploads in parts, or those that are encrypted by a key of one's own."""
    for name, shade in (("a", 1), ("b", 2), ("c", 1), ("d", 1)):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / f"{name}.png")
    upload(tmp_path, "s3://bucket/copies")
    place = RemotePlace("s3://bucket/copies")
    listed = listing.listing_of(place)
    store = RemoteImages(place, np.array(listed.names), listed.sizes, listed.versions)
    served.asked.clear()
    assert store.duplicates() == [[0, 2, 3]]
    assert len(asked_for(served, ".png")) == 3  # some, to see that versions are what they seem
    versions = np.array([(version % number).encode() for number in range(4)])
    monkeypatch.setattr(objects, "_is_still", lambda place, one: True)
    assert replace(store, versions=versions).duplicates() == [[0, 2, 3]]


# Headers


def test_headers_are_read_from_the_beginning_of_large_images(
    tmp_path: Path, served: ObjectStorage
) -> None:
    """Of a PNG all is needed for YOLO, as its orientation may stand behind the pixels."""
    folder = tmp_path / "large"
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    (folder / "images").mkdir(parents=True)
    exif = Image.Exif()
    exif[274] = 6
    picture.save(folder / "images/turned.jpg", quality=95, exif=exif)
    picture.save(folder / "images/plain.jpg", quality=95)
    picture.save(folder / "images/deep.tif")
    picture.save(folder / "images/flat.png", exif=exif)
    late = (folder / "images/flat.png").read_bytes()
    start = late.index(b"eXIf") - 4
    chunk = late[start : start + 12 + int.from_bytes(late[start : start + 4], "big")]
    end = late.index(b"IEND") - 4
    (folder / "images/flat.png").write_bytes(
        late[:start] + late[start + len(chunk) : end] + chunk + late[end:]
    )
    # What a camera writes before the pixels may be longer than what is asked for first.
    picture.save(folder / "images/comment.jpg", quality=95, exif=exif, comment=b"x" * 65_000)
    (folder / "labels").mkdir()
    for image in (folder / "images").iterdir():
        assert image.stat().st_size > 65_536
        (folder / f"labels/{image.stem}.txt").write_text("0 0.3 0.3 0.2 0.1\n")
    (folder / "classes.txt").write_text("thing\n")
    upload(folder, "s3://bucket/large")
    served.asked.clear()
    ours = AutoDataModule(folder).whole_splits()[0]
    theirs = AutoDataModule("s3://bucket/large", cache_gb=0).whole_splits()[0]
    assert np.array_equal(ours.truth.boxes_xyxy, theirs.truth.boxes_xyxy)
    assert np.array_equal(ours.truth.sizes_hw, theirs.truth.sizes_hw)
    times = {key.rsplit("/", 1)[1]: count for key, count in asked_for(served, "g", "f").items()}
    assert times == {
        **{"turned.jpg": 1, "plain.jpg": 1},
        **{"flat.png": 2, "deep.tif": 2, "comment.jpg": 2},
    }
    served.asked.clear()
    _ = AutoDataModule("s3://bucket/large", cache_gb=0).whole_splits()
    assert not asked_for(served, "g", "f")


def test_a_header_that_is_none_is_one_line(tmp_path: Path, served: ObjectStorage) -> None:
    LAYOUTS["yolo_roboflow"](tmp_path)
    bad = sorted((tmp_path / "train/images").iterdir())[0]
    bad.write_bytes(b"no picture")
    upload(tmp_path, "s3://bucket/bad")
    with pytest.raises(UserError, match=r"^s3://bucket/bad/train/images/.* is not an image"):
        AutoDataModule("s3://bucket/bad").whole_splits()
    left = AutoDataModule("s3://bucket/bad", on_bad_image="skip").train
    assert bad.name not in {Path(name).name for name in left.truth.file_names.tolist()}
    assert f"is s3://bucket/bad/train/images/{bad.name}" in left.notes()[-1]


# What the server does


def half(times: int, ending: str) -> Fault:
    """Send half of the first bodies of some objects, and close."""
    left = [times]

    def fault(request: dict[str, Any], ask: Any) -> Answer:
        answer: Answer = ask()
        if request["PATH_INFO"].endswith(ending) and request["REQUEST_METHOD"] == "GET" and left[0]:
            left[0] -= 1
            answer.body = answer.body[: len(answer.body) // 2]
        return answer

    return fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("coco_official", lambda: busy(4)),
        ("voc_official", lambda: half(3, ".jpg")),
        ("yolo_roboflow", lambda: half(3, ".jpg")),
        ("yolo_roboflow", lambda: busy(4)),
        ("coco_official", lambda: half(2, ".json")),
    ],
    indirect=["data"],
)
def test_what_passes_costs_retries_alone(
    fault: Any, data: tuple[Path, str], served: ObjectStorage
) -> None:
    folder, address = data
    served.fault = fault()
    same(AutoDataModule(folder, **SMALL), AutoDataModule(address, **SMALL))


def test_a_server_that_goes_away_is_waited_for(
    data: tuple[Path, str], served: ObjectStorage
) -> None:
    folder, address = data
    back = served.stop_for(1.0)
    try:
        theirs = AutoDataModule(address, **SMALL)
        _ = theirs.train, theirs.val
    finally:
        back.join()
    back = served.stop_for(1.0)
    try:
        same(AutoDataModule(folder, **SMALL), theirs)
    finally:
        back.join()


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_a_server_that_stays_away_is_one_line(
    on_bad_image: Any,
    data: tuple[Path, str],
    served: ObjectStorage,
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Path,
) -> None:
    """It is no bad image, which could be passed over."""
    theirs = AutoDataModule(data[1], on_bad_image=on_bad_image, cache_gb=0, **SMALL)
    _ = theirs.train
    monkeypatch.setattr(patience, "PATIENCE_S", 0.4)
    served.stop()
    try:
        with pytest.raises(StoreError, match=r"s3://bucket/sets/coco_official/.*gave no answer"):
            list(theirs.train_dataloader())
        with pytest.raises(StoreError, match=r"^s3://bucket/sets/coco_official.*gave no answer"):
            _ = AutoDataModule(data[1]).train
    finally:
        served.start()


def test_what_is_not_there_is_said_at_once(served: ObjectStorage) -> None:
    for address in ("s3://bucket/other", "s3://no-such/x"):
        with pytest.raises(UserError, match=rf"data\.root={address}: there is no shards\.json"):
            _ = AutoDataModule(address).train
    with pytest.raises(UserError, match=r"http:// does not list folders"):
        _ = AutoDataModule(f"{served.endpoint}/bucket/public").train


def test_errors_name_the_address(
    data: tuple[Path, str], served: ObjectStorage, own_cache: Path
) -> None:
    _, address = data
    put(f"{address}/annotations/instances_train2017.json", b'{"images": [], "categories": []}')
    with pytest.raises(UserError, match=rf"^{address}/annotations/instances_train2017\.json lists"):
        _ = AutoDataModule(address).train
    put("s3://bucket/nothing/readme.md", b"x")
    with pytest.raises(UserError, match=r"data\.root=s3://bucket/nothing: no data set was found"):
        _ = AutoDataModule("s3://bucket/nothing").train
    with pytest.raises(UserError, match=rf"data\.root={address} has no set of images called x"):
        _ = AutoDataModule(address, train_split="x").train


# A bucket that changes


def test_a_changed_bucket_is_noticed(
    data: tuple[Path, str], served: ObjectStorage, own_cache: Path, monkeypatch: Any
) -> None:
    folder, address = data
    same_truth(AutoDataModule(folder), AutoDataModule(address))
    trees = own_cache / "trees"
    (before,) = [one for one in trees.glob("*/*") if (one / "listing.npz").is_file()]
    # An image of the same size with other bytes, another image, a changed annotation file.
    picture = folder / "train2017/a.jpg"
    content = bytearray(picture.read_bytes())
    content[-3] ^= 1
    picture.write_bytes(content)
    names = folder / "annotations/instances_val2017.json"
    names.write_text(names.read_text().replace('"cat"', '"Cat"'))
    (folder / "train2017/new.jpg").write_bytes(picture.read_bytes())
    upload(folder, address)
    served.asked.clear()
    theirs = AutoDataModule(address)
    same_truth(AutoDataModule(folder), theirs)
    assert list(asked_for(served, ".json")) == [
        "GET /bucket/sets/coco_official/shards.json",
        "GET /bucket/sets/coco_official/annotations/instances_val2017.json",
    ]
    assert list(asked_for(served, ".jpg")) == ["GET /bucket/sets/coco_official/train2017/a.jpg"]
    # The one of before is in use by this process, as it might be by a run.
    assert before.is_dir()
    os.close(mirror._HELD.pop(before) or 0)
    _ = AutoDataModule(address).train
    assert not before.exists()
    copies = [one for one in trees.glob("*/copies/*/*") if one.is_file()]
    assert copies and all(one.stat().st_nlink == 2 for one in copies)


@pytest.mark.parametrize("changed", [b"another one", None, b"", "same size"])
def test_an_image_that_changes_after_it_was_listed_is_no_image(
    changed: bytes | str | None, data: tuple[Path, str], served: ObjectStorage
) -> None:
    import s3fs

    folder, address = data
    theirs = AutoDataModule(address, cache_gb=0, **SMALL).train
    name = f"{address}/train2017/a.jpg"
    if changed is None:
        s3fs.S3FileSystem().rm(name)
    else:
        size = (folder / "train2017/a.jpg").stat().st_size
        put(name, b"x" * size if isinstance(changed, str) else changed)
    with pytest.raises(UserError, match=rf"{name} was removed or changed since") as caught:
        theirs.images.read(0)
    assert not isinstance(caught.value, StoreError)


def test_annotations_that_change_while_they_are_fetched_are_listed_again(
    data: tuple[Path, str], served: ObjectStorage
) -> None:
    folder, address = data
    file = "annotations/instances_train2017.json"
    text = (folder / file).read_bytes()
    changes = iter([text.replace(b"2026", b"2027")])

    def fault(request: dict[str, Any], ask: Any) -> Answer:
        is_it = request["PATH_INFO"].endswith(file) and request["REQUEST_METHOD"] == "GET"
        if is_it and (new := next(changes, None)):
            threading.Thread(target=put, args=(f"{address}/{file}", new)).start()
            time.sleep(0.5)
        answer: Answer = ask()
        return answer

    served.fault = fault
    same_truth(AutoDataModule(folder), AutoDataModule(address))


# The cache


def test_the_cache_never_holds_more_than_it_may(
    tmp_path: Path, served: ObjectStorage, own_cache: Path
) -> None:
    from fcos_lightning.data.shapes.drawn import write_shapes

    folder = write_shapes(tmp_path / "shapes", train=60, val=4, size=64)
    upload(folder, "s3://bucket/shapes")
    sizes = [one.stat().st_size for one in (folder / "train").iterdir()]
    most = sum(sizes) // 3
    theirs = AutoDataModule("s3://bucket/shapes", cache_gb=most / 1e9, **SMALL)
    _ = theirs.train
    highest, over = 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        remote = own_cache / "remote"
        while not over.wait(0.001):
            with waiting_for(remote / ".lock"):  # else one might be seen by two names
                sizes = [one.stat().st_size for one in remote.glob("*/???/*") if one.is_file()]
            highest = max(highest, sum(sizes))

    watching = threading.Thread(target=watch)
    watching.start()
    served.asked.clear()
    same(AutoDataModule(folder, **SMALL), theirs)
    over.set()
    watching.join()
    assert most / 2 < highest <= most
    # What was read ahead was not thrown out before it was used.
    first_epoch = asked_for(served, ".png", ".jpg")
    assert first_epoch.total() <= len(first_epoch) + 8  # a few fill the last batch


def test_a_damaged_copy_is_brought_again(
    data: tuple[Path, str], served: ObjectStorage, own_cache: Path
) -> None:
    store = AutoDataModule(data[1], **SMALL).train.images
    content = store.read(0)
    copies = (own_cache / "remote").glob("*/???/*")
    (copy,) = [one for one in copies if one.read_bytes().startswith(content)]
    for damage in (b"too short", b"x" * copy.stat().st_size):
        copy.write_bytes(damage)
        assert store.read(0) == content


def test_an_image_larger_than_the_cache_is_read(
    data: tuple[Path, str], served: ObjectStorage
) -> None:
    folder, address = data
    theirs = AutoDataModule(address, cache_gb=1e-7, **SMALL)
    same(AutoDataModule(folder, **SMALL), theirs)


def _start(address: str) -> None:
    data = AutoDataModule(address, **SMALL)
    for _ in data.train_dataloader(), data.val_dataloader():
        pass


@pytest.mark.parametrize("data", ["yolo_roboflow"], indirect=True)
def test_processes_bring_everything_once(data: tuple[Path, str], served: ObjectStorage) -> None:
    """As the ranks of a run, which start at the same time with nothing at hand."""
    started = multiprocessing.get_context("fork")
    processes = [started.Process(target=_start, args=(data[1],)) for _ in range(3)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    assert [one.exitcode for one in processes] == [0, 0, 0]
    once = asked_for(served, ".jpg", ".txt", ".yaml")
    assert set(once.values()) == {1} and len(once) > 12


def test_a_start_that_was_interrupted_goes_on(
    data: tuple[Path, str], served: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = data
    monkeypatch.setattr(mirror, "_THREADS", 1)
    left = [1]

    def fault(request: dict[str, Any], ask: Any) -> Answer:
        answer: Answer = ask()
        if request["PATH_INFO"].endswith("7.json"):
            left[0] -= 1
        if left[0] < 0:
            answer = Answer("403 Forbidden", [("Content-Length", "0")], b"")
        return answer

    served.fault = fault
    with pytest.raises(StoreError, match=rf"^{address}/annotations/.*access is refused"):
        _ = AutoDataModule(address).train
    served.fault = None
    same_truth(AutoDataModule(folder), AutoDataModule(address))
    times = asked_for(served, "7.json")
    assert sorted(times.values())[0] == 1  # the one that had come is not asked for again


# Names that come from strangers


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../evil.json", "leads out"),
        ("train2017/../../evil.jpg", "leads out"),
        ("/etc/passwd.json", "leads out"),
        ("train2017\\evil.jpg", "leads out"),
        ("train2017//a.jpg", "a part without a name"),
        ("./a.jpg", "a part without a name"),
        ("x" * 256 + ".jpg", "too long"),
        ("train2017", "an object and a folder"),
    ],
)
def test_names_that_no_folder_can_have_are_refused(
    name: str, said: str, served: ObjectStorage, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [("train2017/a.jpg", 3, "as:1"), (name, 3, "as:2")]
    monkeypatch.setattr(listing, "_pages_of_s3", lambda place: iter(found))
    with pytest.raises(StoreError, match=rf"data\.root=s3://bucket/hostile: .*{said}") as caught:
        _ = AutoDataModule("s3://bucket/hostile").train
    assert "\n" not in str(caught.value)
    assert not (own_cache / "trees").exists()


def test_odd_names_are_taken_as_they_are(tmp_path: Path, served: ObjectStorage) -> None:
    """And empty objects that stand for folders are none."""
    folder = tmp_path / "odd"
    folder.mkdir()
    LAYOUTS["coco_fiftyone"](folder)
    text = (folder / "labels.json").read_text()
    for stem, odd in (("a", "a+b %41&=?#*[x] é'"), ("b", "cam:1 2026-01-01T00:00")):
        (folder / f"data/{stem}.jpg").rename(folder / f"data/{odd}.jpg")
        text = text.replace(f'"{stem}.jpg"', f'"{odd}.jpg"')
    (folder / "labels.json").write_text(text)
    upload(folder, "s3://bucket/odd")
    import s3fs

    for marker in ("data", "empty/"):
        s3fs.S3FileSystem().call_s3("put_object", Bucket="bucket", Key=f"odd/{marker}", Body=b"")
    same_truth(AutoDataModule(folder), AutoDataModule("s3://bucket/odd"))


def test_a_listing_of_many_pages_is_read_to_its_end(
    tmp_path: Path, served: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    LAYOUTS["voc_official"](folder)
    upload(folder, "s3://bucket/pages")
    place = RemotePlace("s3://bucket/pages")
    monkeypatch.setattr(place.opened()[0], "req_kw", {"MaxKeys": 7})
    served.fault = busy(2)
    listed = listing.listing_of(place)
    files = [one for one in folder.rglob("*") if one.is_file()]
    assert listed.names == sorted(one.relative_to(folder).as_posix() for one in files)
    assert listed.sizes.sum() == sum(one.stat().st_size for one in files)


def test_other_systems_are_listed_folder_by_folder(tmp_path: Path) -> None:
    import fsspec

    folder = tmp_path / "memory"
    folder.mkdir()
    LAYOUTS["yolo_ultralytics"](folder)
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/sets/memory", recursive=True)
    try:
        same_truth(AutoDataModule(folder), AutoDataModule("memory://sets/memory"))
    finally:
        system.rm("/sets", recursive=True)


# Options


def test_places_by_hand(data: tuple[Path, str], served: ObjectStorage, tmp_path: Path) -> None:
    folder, address = data
    splits = {"train_split": "train2017", "val_split": "val2017", "test_split": None}
    same_truth(CocoDataModule(folder, **splits), CocoDataModule(address, **splits))  # type: ignore[arg-type]
    # A file of another task, or of any name, is no candidate, and is brought once it is named.
    (folder / "boxes").mkdir()
    for split in ("train2017", "val2017"):
        (folder / f"annotations/instances_{split}.json").rename(folder / f"boxes/{split}.bin")
    upload(folder, address)
    splits = splits | {"annotations": "boxes/SPLIT.bin"}
    same_truth(CocoDataModule(folder, **splits), CocoDataModule(address, **splits))  # type: ignore[arg-type]
    for images, said in (("../x", "is missing"), (f"{folder}/train2017", r"data\.images: .*below")):
        outside = CocoDataModule(address, **(splits | {"images": images}))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=said):
            _ = outside.train
    with pytest.raises(UserError, match=rf"data\.root={address}: shapes are drawn into a folder"):
        ShapesDataModule(address)
    with pytest.raises(UserError, match=r"data\.shuffle_window=2: .* in no shards"):
        _ = CocoDataModule(address, **splits, shuffle_window=2).train  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"data\.root={address}: no data set was found") as caught:
        _ = AutoDataModule(address).train
    assert "trees" not in str(caught.value)


@pytest.mark.parametrize("data", ["voc_official"], indirect=True)
def test_places_of_voc_by_hand(data: tuple[Path, str], served: ObjectStorage) -> None:
    folder, address = data
    splits = {"train_split": "train", "val_split": "val", "annotations": "Annotations"}
    same_truth(VocDataModule(folder, **splits), VocDataModule(address, **splits))  # type: ignore[arg-type]


def test_a_full_disk_is_one_line(
    data: tuple[Path, str], served: ObjectStorage, own_cache: Path
) -> None:
    own_cache.mkdir(parents=True)
    (own_cache / "trees").write_text("in the way")
    with pytest.raises(StoreError, match="cannot keep the names and annotations of an address"):
        _ = AutoDataModule(data[1]).train
    (own_cache / "trees").unlink()
    (own_cache / "remote").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot keep train2017/.*free space"):
        AutoDataModule(data[1], **SMALL).train.images.read(0)


# Last, as loader processes have the server's socket, and it could not come back to its port.


def test_loader_processes_share_the_cache(data: tuple[Path, str], served: ObjectStorage) -> None:
    folder, address = data
    theirs = AutoDataModule(address, **(SMALL | {"num_workers": 2}))
    same(AutoDataModule(folder, **SMALL), theirs)
    assert set(asked_for(served, ".jpg").values()) == {1}
