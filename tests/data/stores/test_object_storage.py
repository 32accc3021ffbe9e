"""Shards on a real S3 server: the same batches, whatever it does, and never a password."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.object_storage import ObjectStorage, busy, cut_short, object_storage

from fcos_lightning.data import AutoDataModule
from fcos_lightning.data.shapes.drawn import write_shapes
from fcos_lightning.data.stores import patience, places, shard_cache
from fcos_lightning.data.stores.addresses import checked_address, clean
from fcos_lightning.data.stores.ahead import ahead_of
from fcos_lightning.data.stores.packing import Packer
from fcos_lightning.data.stores.places import place_of
from fcos_lightning.data.stores.shards import ShardStore
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.errors import UserError
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.storage.caches import waiting_for

SMALL: dict[str, Any] = {"batch_size": 8, "num_workers": 0, "shorter_side": 64, "longer_side": 64}
ROOT = "s3://bucket/packed"
SHARD = 20_480


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("drawn") / "data", train=60, val=12, size=64)


@pytest.fixture(scope="module")
def served(drawn: Path) -> Iterator[ObjectStorage]:
    with object_storage() as server:
        splits = AutoDataModule(drawn).whole_splits()
        Packer(place_of(ROOT, "out"), SHARD).pack(splits, "x", "coco")
        yield server


@pytest.fixture(autouse=True)
def own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: ObjectStorage
) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.2)
    served.asked.clear()
    yield tmp_path / "fcos-lightning" / "remote"
    served.fault = None


def ids(data: AutoDataModule) -> list[list[int]]:
    return [batch.image_ids.tolist() for batch in data.train_dataloader()]


def same(ours: AutoDataModule, theirs: AutoDataModule) -> None:
    pairs = [(ours.train_dataloader(), theirs.train_dataloader())]
    pairs.append((ours.val_dataloader(), theirs.val_dataloader()))
    for one, other in pairs:
        for mine, yours in zip(one, other, strict=True):
            assert torch.equal(mine.images.pixels, yours.images.pixels)
            assert torch.equal(mine.image_ids, yours.image_ids)


def shards_asked(served: ObjectStorage) -> Counter[str]:
    return Counter(one for one in served.asked if one.startswith("GET") and ".tar" in one)


def store_of(data: AutoDataModule) -> ShardStore:
    store = data.train.elsewhere
    assert isinstance(store, ShardStore)
    return store


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_folder(workers: int, drawn: Path, served: ObjectStorage) -> None:
    theirs = AutoDataModule(ROOT, **(SMALL | {"num_workers": workers}))
    same(AutoDataModule(drawn, **SMALL), theirs)
    first = shards_asked(served)
    # Reading ahead and loader processes share the cache: nobody brings what another one has.
    assert set(first.values()) == {1} and len(first) > 10
    same(AutoDataModule(drawn, **SMALL), theirs)
    assert shards_asked(served) == first


def test_mixed_images_are_those_of_the_folder_too(drawn: Path, served: ObjectStorage) -> None:
    with composed("train", ("augment=mosaic", "data.shorter_side=64", "data.longer_side=64")) as c:
        augmentation = make(c, "augment")
    ours = AutoDataModule(drawn, augmentation=augmentation, **SMALL)
    same(ours, AutoDataModule(ROOT, augmentation=augmentation, **SMALL))
    assert set(shards_asked(served).values()) == {1}


def test_also_over_http_and_without_a_cache(drawn: Path, served: ObjectStorage) -> None:
    import s3fs

    address = f"{served.endpoint}/bucket/packed/"
    with pytest.raises(StoreError, match=r"/bucket/packed/shards\.json: ClientResponseError: 403"):
        _ = AutoDataModule(address).train
    system = s3fs.S3FileSystem()
    for path in system.ls(ROOT):
        system.chmod(path, acl="public-read")
    served.asked.clear()
    theirs = AutoDataModule(address, cache_gb=0, **SMALL)
    same(AutoDataModule(drawn, **SMALL), theirs)
    assert store_of(theirs).cache is None
    assert shards_asked(served).total() == 76  # and four images fill the last batch


@pytest.mark.parametrize("fault", [busy(12), cut_short(5)])
def test_what_passes_costs_retries_alone(fault: Any, drawn: Path, served: ObjectStorage) -> None:
    served.fault = fault
    same(AutoDataModule(drawn, **SMALL), AutoDataModule(ROOT, **SMALL))


def test_a_server_that_goes_away_is_waited_for(drawn: Path, served: ObjectStorage) -> None:
    theirs = AutoDataModule(ROOT, **SMALL)
    _ = theirs.train, theirs.val
    back = served.stop_for(1.5)
    try:
        same(AutoDataModule(drawn, **SMALL), theirs)
    finally:
        back.join()


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_a_server_that_stays_away_is_one_line(
    on_bad_image: Any, served: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no bad image, which could be passed over."""
    data = AutoDataModule(ROOT, on_bad_image=on_bad_image, **SMALL)
    _ = data.train
    monkeypatch.setattr(patience, "PATIENCE_S", 0.5)
    served.stop()
    try:
        with pytest.raises(StoreError, match=r"s3://bucket/packed/train-\d+\.tar gave no answer"):
            ids(data)
    finally:
        served.start()


def test_what_no_waiting_mends_is_said_at_once(
    served: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"data\.root=s3://bucket/other: there is no shards\.json"):
        _ = AutoDataModule("s3://bucket/other").train
    with pytest.raises(UserError, match=r"data\.root=s3://no-such/x: there is no shards\.json"):
        _ = AutoDataModule("s3://no-such/x").train
    with pytest.raises(UserError, match=r"data\.root=xyz://a/b: .*xyz"):
        _ = AutoDataModule("xyz://a/b").train
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match=r"s3://bucket/packed/shards\.json: .*redentials"):
        _ = AutoDataModule(ROOT).train
    s3fs.S3FileSystem.clear_instance_cache()
    assert time.monotonic() - began < patience.PATIENCE_S / 3


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r"a library for s3:// is missing .*pip install"):
        _ = AutoDataModule("s3://bucket/new").train


# The cache


def size_of(folder: Path) -> int:
    """What a cache takes, while nobody makes room in it."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[int, int] = {}
    with waiting_for(folder / ".lock"):
        for file in folder.rglob("*"):
            with suppress(FileNotFoundError):  # a draft that has just got its name
                about = file.stat()
                sizes[about.st_ino] = about.st_size if file.is_file() else 0
    return sum(sizes.values())


def test_the_cache_never_holds_more_than_it_may(served: ObjectStorage, own_cache: Path) -> None:
    most = 6 * SHARD
    data = AutoDataModule(ROOT, cache_gb=most / 1e9, shuffle_window=2, **SMALL)
    _ = data.train
    highest, over = 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not over.wait(0.001):
            highest = max(highest, size_of(own_cache))

    watching = threading.Thread(target=watch)
    watching.start()
    found = ids(data)
    over.set()
    watching.join()
    assert 3 * SHARD < highest <= most
    # With room for three windows, each shard was brought once in an epoch.
    assert set(shards_asked(served).values()) == {1}
    assert sorted({one for batch in found for one in batch}) == sorted(data.train.truth.image_ids)


def test_a_window_is_chosen_that_has_room(served: ObjectStorage) -> None:
    data = AutoDataModule(ROOT, cache_gb=6 * SHARD / 1e9, **SMALL)
    assert len(store_of(data).shards) > 6
    assert data.shuffle_window == 2  # twice, and some for others: written into config.yaml
    assert ids(data) == ids(AutoDataModule(ROOT, shuffle_window=2, **SMALL))
    whole = AutoDataModule(ROOT, **SMALL)
    _ = whole.train
    assert whole.shuffle_window is None
    with pytest.raises(UserError, match=r"data\.shuffle_window=9 shards of train have .* and data"):
        _ = AutoDataModule(ROOT, cache_gb=6 * SHARD / 1e9, shuffle_window=9, **SMALL).train
    with pytest.raises(UserError, match=r"data\.cache_gb=1e-06: train-.*\.tar alone has 20\.5 kB"):
        _ = AutoDataModule(ROOT, cache_gb=1e-6, **SMALL).train


def test_a_damaged_copy_is_brought_again(served: ObjectStorage, own_cache: Path) -> None:
    store = store_of(AutoDataModule(ROOT, **SMALL))
    content = store.read(0)
    (copy,) = own_cache.rglob("*.tar")
    copy.write_bytes(b"x" * SHARD)
    assert store.read(0) == content
    copy.write_bytes(b"too short")
    assert store.read(0) == content
    assert shards_asked(served).total() == 3


def test_a_draft_is_not_left_behind(
    served: ObjectStorage, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_cache, "PART_BYTES", 4096)
    # What is not brought to its end was counted: only a look shows that there is room.
    store = store_of(AutoDataModule(ROOT, cache_gb=1.5 * SHARD / 1e9, **SMALL))
    assert store.cache is not None
    asked = iter([False, False, True])
    store.cache.bring(store.shards[0], stopped=lambda: next(asked))
    assert shards_asked(served).total() == 2
    assert not [one for one in own_cache.rglob("*") if one.is_file() and one.stat().st_size]
    old = store.cache.folder / ".train-000001.tar.x.draft"
    old.write_bytes(b"x" * 100)
    os.utime(old, (0, 0))
    store.cache.bring(store.shards[0])
    assert not old.exists() and store.read(0)


def test_a_full_disk_is_one_line(
    served: ObjectStorage, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(AutoDataModule(ROOT, **SMALL))
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot keep train-000000\.tar \(20\.5 kB\) in .*free"):
        store.read(0)


def _read_all(images: int) -> None:
    store = store_of(AutoDataModule(ROOT, **SMALL))
    for image in range(images):
        store.read(image)


def test_processes_bring_each_shard_once(served: ObjectStorage) -> None:
    started = multiprocessing.get_context("fork")
    processes = [started.Process(target=_read_all, args=(30,)) for _ in range(3)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    assert [one.exitcode for one in processes] == [0, 0, 0]
    assert set(shards_asked(served).values()) == {1}


def test_reading_ahead_stops_where_there_is_no_room(served: ObjectStorage) -> None:
    data = AutoDataModule(ROOT, cache_gb=5 * SHARD / 1e9, **SMALL)
    store = store_of(data)
    ahead = ahead_of(store)
    first = [int(np.flatnonzero(store.rows.shard == one)[0]) for one in range(len(store.shards))]
    batches = [np.array([image]) for image in first]
    begun = ahead.begin(batches)
    for reached, expected in ((0, 4), (2, 6)):  # four of five: a share is left to others
        ahead.reached(reached)
        until = time.monotonic() + 10
        while len(shards_asked(served)) < expected and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(shards_asked(served)) == expected
    ahead.end(begun + 1)  # of another round
    ahead.reached(3)
    ahead.end(begun)
    ahead.join(time.monotonic() + 10)
    assert not any(thread.is_alive() for thread in ahead._threads)


# What no address may hold


@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY:SECRET@bucket/x",
        "https://user:SECRET@host/x",
        "https://SECRET@host/x",
        "HTTPS://user:SECRET@host",
        "https://host/x?X-Amz-Signature=SECRET",
        "gs://bucket/x?token=SECRET",
        "s3://bucket/x#SECRET",
        "https://user:SE@CRET@host/x",
    ],
)
@pytest.mark.parametrize("key", ["data.root", "out"])
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str, key: str) -> None:
    with pytest.raises(UserError, match="leave them out") as caught:
        place_of(address, key)
    said = str(caught.value)
    assert said.startswith(f"{key}=") and "SECRET" not in said and "CRET@" not in said
    with pytest.raises(UserError, match="leave them out") as caught:
        AutoDataModule(address)
    assert "SECRET" not in str(caught.value) and "CRET@" not in str(caught.value)


def test_addresses_without_one_are_taken() -> None:
    assert checked_address("s3://bucket/a@b/", "x") == "s3://bucket/a@b"
    assert checked_address("hf://datasets/me/x@main", "x") == "hf://datasets/me/x@main"
    assert checked_address("abfs://container@account/x", "x") == "abfs://container@account/x"
    for odd in ("simplecache::s3://a/b", "s3://"):
        assert not isinstance(place_of("plain/folder", "x"), places.RemotePlace)
        if odd.startswith("s3"):
            with pytest.raises(UserError, match="give a plain address"):
                place_of(odd, "x")
    assert clean("GET http://u:p@h:1/a?sig=1 and 'https://h/b?x=2'") == (
        "GET http://h:1/a and 'https://h/b'"
    )
