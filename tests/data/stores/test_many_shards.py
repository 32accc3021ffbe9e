"""The long proofs: many images, and a server that is gone for half a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.object_storage import object_storage

from fcos_lightning.data import AutoDataModule
from fcos_lightning.data.shapes.drawn import write_shapes
from fcos_lightning.data.stores.packing import Packer
from fcos_lightning.data.stores.places import place_of

ROOT = "s3://bucket/packed"
OPTIONS: dict[str, Any] = {
    "batch_size": 16,
    "num_workers": 2,
    "shorter_side": 64,
    "longer_side": 64,
}


@pytest.mark.slow
def test_five_thousand_images_give_the_batches_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    drawn = write_shapes(tmp_path / "data", train=5000, val=4, size=64)
    folder = AutoDataModule(drawn, **OPTIONS)
    with object_storage() as served:
        Packer(place_of(ROOT, "out"), 400_000).pack(folder.whole_splits(), "x", "coco")
        packed = AutoDataModule(ROOT, **OPTIONS)
        batches = 0
        for epoch in range(2):
            loaders = folder.train_dataloader(), packed.train_dataloader()
            for loader in loaders:
                loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            for one, other in zip(*loaders, strict=True):
                batches += 1
                assert torch.equal(one.image_ids, other.image_ids)
                assert torch.equal(one.images.pixels, other.images.pixels)
                assert torch.equal(one.targets.boxes_xyxy, other.targets.boxes_xyxy)
        assert batches == 2 * 313
        asked = [one for one in served.asked if one.startswith("GET") and "train-" in one]
        assert len(asked) == len(set(asked)) > 30  # each shard once in both epochs


@pytest.mark.slow
def test_half_a_minute_without_a_server_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = AutoDataModule(write_shapes(tmp_path / "data", train=64, val=4, size=64), **OPTIONS)
    with object_storage() as served:
        Packer(place_of(ROOT, "out"), 20_480).pack(folder.whole_splits(), "x", "coco")
        packed = AutoDataModule(ROOT, **OPTIONS)
        _ = packed.train
        back = served.stop_for(30)
        try:
            for one, other in zip(
                folder.train_dataloader(), packed.train_dataloader(), strict=True
            ):
                assert torch.equal(one.images.pixels, other.images.pixels)
        finally:
            back.join()
