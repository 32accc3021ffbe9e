"""Mixed images as a data module hands them out: what takes part, who decides, and until when."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from fcos_lightning.data import (
    Augmentation,
    AutoDataModule,
    CopyPaste,
    MixedAugmentation,
    MixUp,
    Mosaic,
    ShapesDataModule,
    ShorterSide,
)
from fcos_lightning.data.batches.dataset import DetectionDataset
from fcos_lightning.data.batches.epochs import epochs_of_run
from fcos_lightning.data.mixing.scene import Mix, Scene
from fcos_lightning.data.shapes.drawn import write_shapes
from fcos_lightning.data.stores.packing import Packer
from fcos_lightning.data.stores.places import place_of
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Batch

SIZE = 64
OPTIONS: dict[str, Any] = {
    "train_split": "train",
    "val_split": "val",
    "batch_size": 4,
    "shorter_side": SIZE,
    "longer_side": SIZE,
    "num_workers": 0,
}


def mixed(weak_end: float = 0.0, **chances: float) -> MixedAugmentation:
    kinds = {"mosaic": Mosaic, "mixup": MixUp, "copy_paste": CopyPaste}
    chances = chances or {"mosaic": 0.7, "mixup": 0.5, "copy_paste": 0.5}
    return MixedAugmentation(
        {name: kinds[name](p=p) for name, p in chances.items()},
        Augmentation([ShorterSide(SIZE, SIZE, scale=(0.5, 1.5)), A.HorizontalFlip()]),
        Augmentation([ShorterSide(SIZE, SIZE)]),
        SIZE,
        SIZE,
        weak_end,
    )


@pytest.fixture
def shapes(tmp_path: Path) -> ShapesDataModule:
    data = ShapesDataModule(
        tmp_path / "shapes", train_images=12, val_images=4, image_px=64, **OPTIONS
    )
    data.augmentation = mixed()
    return data


def same(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.images.pixels, other.images.pixels)
        and torch.equal(one.targets.boxes_xyxy, other.targets.boxes_xyxy)
        and torch.equal(one.targets.labels, other.targets.labels)
        and torch.equal(one.image_ids, other.image_ids)
        and (one.targets.ignored_xyxy is None) == (other.targets.ignored_xyxy is None)
        and (
            one.targets.ignored_xyxy is None
            or other.targets.ignored_xyxy is None
            or torch.equal(one.targets.ignored_xyxy, other.targets.ignored_xyxy)
        )
    )


def of_epoch(data: ShapesDataModule | AutoDataModule, epoch: int) -> list[Batch]:
    loader: Any = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def test_workers_and_devices_change_nothing(
    shapes: ShapesDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = of_epoch(shapes, 1)
    assert not all(map(same, alone, of_epoch(shapes, 2)))
    shapes.num_workers = 2
    assert all(map(same, alone, of_epoch(shapes, 1)))
    shapes.num_workers = 0
    for devices in (2, 4):
        monkeypatch.setattr(ShapesDataModule, "_world_size", devices)
        parts = []
        for rank in range(devices):
            monkeypatch.setattr(ShapesDataModule, "_rank", rank)
            parts.append(of_epoch(shapes, 1))
        for batch, *shares in zip(alone, *parts, strict=True):
            images = [image for share in shares for image in images_of(share)]
            assert len(images) == 4
            for one, other in zip(images_of(batch), images, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def images_of(batch: Batch) -> list[tuple[torch.Tensor, ...]]:
    """Return pixels without padding, boxes and labels of each image."""
    found = []
    for row in range(len(batch)):
        height, width = batch.images.sizes_hw[row].tolist()
        valid = batch.targets.valid[row]
        found.append(
            (
                batch.images.pixels[row, :, :height, :width],
                batch.targets.boxes_xyxy[row][valid],
                batch.targets.labels[row][valid],
            )
        )
    return found


def test_the_order_in_which_images_are_asked_for_changes_nothing(shapes: ShapesDataModule) -> None:
    dataset = DetectionDataset(shapes.train, mixed(), seed=3)
    keys = [(epoch, image) for epoch in range(3) for image in range(12)]
    first = {key: dataset[key] for key in keys}
    for key in np.random.default_rng(0).permutation(keys).tolist():
        again = dataset[tuple(key)]
        assert torch.equal(again.image, first[tuple(key)].image)
        assert torch.equal(again.target.boxes_xyxy, first[tuple(key)].target.boxes_xyxy)
    # Where a mosaic is not drawn, the image may be as it was in another epoch; most are not.
    pictures = {sample.image.numpy().tobytes() for sample in first.values()}
    assert len(pictures) == len(keys)


def test_others_take_part_by_lot() -> None:
    plan = mixed(mosaic=0.5, mixup=0.25).plan
    images = range(20)
    keys = [(epoch, image) for epoch in range(100) for image in images]
    plans = {(epoch, image): plan(0, epoch, image, images) for epoch, image in keys}
    steps = [(image, step) for (_, image), found in plans.items() for step in found]
    mosaics = [(image, step) for image, step in steps if isinstance(step.mix, Mosaic)]
    assert 900 < len(mosaics) < 1100  # of 2,000
    assert 420 < len(steps) - len(mosaics) < 580
    for image, step in mosaics:
        assert image not in step.partners and len(step.partners) == 3
    seen = np.bincount([one for _, step in mosaics for one in step.partners], minlength=20)
    assert seen.min() > 0.6 * seen.mean() and seen.max() < 1.4 * seen.mean()
    # Another epoch or image is another lot, and so is another seed.
    assert len({step.seed for _, step in steps}) == len(steps)
    others = [mixed(mosaic=1.0).plan(seed, 0, 0, images)[0].seed for seed in range(5)]
    assert len(set(others)) == 5


def test_what_is_mixed_does_not_hang_on_what_else_is_switched_on() -> None:
    """A chance of 0 leaves the lots of the others alone, so that settings can be compared."""
    both, one = mixed(mosaic=0.5, mixup=0.5), mixed(mosaic=0.5, mixup=0.0)
    for image in range(30):
        first = [s for s in both.plan(0, 0, image, range(30)) if isinstance(s.mix, Mosaic)]
        second = one.plan(0, 0, image, range(30))
        assert [(s.partners, s.seed) for s in first] == [(s.partners, s.seed) for s in second]


def test_one_image_alone_is_mixed_with_itself(tmp_path: Path) -> None:
    assert mixed(mosaic=1.0).plan(0, 0, 0, range(1))[0].partners == (0, 0, 0)
    data = ShapesDataModule(
        tmp_path, train_images=1, val_images=1, image_px=64, **{**OPTIONS, "batch_size": 1}
    )
    data.augmentation = mixed()
    assert len(of_epoch(data, 0)) == 1


@pytest.mark.parametrize(
    ("weak_end", "epochs", "first"),
    [
        (0.1, 50, 45),
        (0.1, 30, 27),
        (0.1, 12, 10),
        (0.1, 3, 2),
        (0.0, 12, 12),
        (1.0, 12, 0),
        (0.25, 8, 6),
    ],
)
def test_the_weak_end_begins(weak_end: float, epochs: int, first: int) -> None:
    assert mixed(weak_end).weak_from(epochs) == first
    assert mixed(weak_end).weak_from(None) == float("inf")


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"max_epochs": 7}, 7),
        ({"max_steps": 10}, 4),  # the fourth is not whole
        ({"max_steps": 10, "max_epochs": 3}, 3),
        ({"max_steps": 10, "max_epochs": -1}, 4),
        ({"max_steps": 10, "accumulate_grad_batches": 2}, 5),
        ({"max_steps": 10, "limit_train_batches": 1}, 10),
        ({}, None),
    ],
)
def test_epochs_of_a_run(changes: dict[str, Any], epochs: int | None) -> None:
    usual = {
        "max_epochs": None,
        "max_steps": -1,
        "accumulate_grad_batches": 1,
        "limit_train_batches": None,
    }
    trainer: Any = SimpleNamespace(**{**usual, **changes})
    assert epochs_of_run(trainer, batches=3) == epochs


def test_in_the_weak_end_images_are_whole(shapes: ShapesDataModule) -> None:
    augmentation = mixed()
    dataset = DetectionDataset(shapes.train, augmentation, seed=3, weak_from=2)
    plain = DetectionDataset(shapes.train, augmentation.weak, seed=3)
    differ = 0
    for image in range(12):
        for epoch in (2, 3, 10):
            assert torch.equal(dataset[epoch, image].image, plain[epoch, image].image)
        differ += not torch.equal(dataset[1, image].image, plain[1, image].image)
    assert differ > 6


def test_partners_that_cannot_be_read(shapes: ShapesDataModule) -> None:
    split = shapes.train
    shapes.augmentation = mixed(mosaic=1.0)
    whole = DetectionDataset(split, shapes.augmentation, seed=0)
    broken = split.path(3)
    broken.write_bytes(broken.read_bytes()[:100])
    (first,) = whole.augmentation.plan(0, 0, 0, range(12))  # type: ignore[union-attr]
    shy = [image for image in range(12) if 3 in plan_of(shapes, image)]
    bold = [image for image in range(12) if 3 not in (image, *plan_of(shapes, image))]
    assert shy and bold and len(first.partners) == 3
    for image in bold:
        assert whole[0, image].unreadable == ()
    with pytest.raises(UserError, match=broken.name):
        _ = whole[0, shy[0]]
    skipping = DetectionDataset(split, shapes.augmentation, seed=0, on_bad_image="skip")
    instead = DetectionDataset(split, shapes.augmentation, seed=0)
    # The next one takes its place, as it does in a batch.
    broken.write_bytes(split.path(4).read_bytes())
    split.truth.boxes_xyxy[split.truth.rows(3)] = 0
    for image in shy:
        if image == 3:
            continue
        wanted = instead[0, image].image
        broken.write_bytes(broken.read_bytes()[:100])
        found = skipping[0, image]
        broken.write_bytes(split.path(4).read_bytes())
        assert found.unreadable == (str(broken),)
        assert torch.equal(found.image, wanted)


def plan_of(data: ShapesDataModule, image: int) -> tuple[int, ...]:
    assert isinstance(data.augmentation, MixedAugmentation)
    (step,) = data.augmentation.plan(0, 0, image, range(12))
    return step.partners


def test_images_without_boxes_are_mixed_too(shapes: ShapesDataModule) -> None:
    split = shapes.train
    empty = np.zeros(0, dtype=np.int64)
    truth = split.truth
    object.__setattr__(truth, "first_box", np.zeros(13, dtype=np.int64))
    object.__setattr__(truth, "labels", empty)
    object.__setattr__(truth, "boxes_xyxy", np.zeros((0, 4)))
    object.__setattr__(truth, "ignored", np.zeros(0, dtype=bool))
    for mix in ("mosaic", "mixup", "copy_paste"):
        dataset = DetectionDataset(split, mixed(**{mix: 1.0}), seed=0)
        sample = dataset[0, 5]
        assert len(sample.target.labels) == 0 and sample.target.ignored_xyxy is None


@pytest.mark.parametrize("ignore", ["points", "none"])
def test_boxes_to_ignore_are_carried_along(shapes: ShapesDataModule, ignore: Any) -> None:
    split = shapes.train
    split.truth.ignored[:] = True
    split.truth.ignored[::3] = False
    dataset = DetectionDataset(split, mixed(mosaic=1.0, copy_paste=1.0), seed=0, ignore=ignore)
    samples = [dataset[0, image] for image in range(12)]
    ignored = [one.target.ignored_xyxy for one in samples]
    if ignore == "none":
        assert ignored == [None] * 12
    else:
        boxes = torch.cat([one for one in ignored if one is not None])
        assert len(boxes) > 20 and (boxes[:, 2:] > boxes[:, :2]).all()
    assert all((one.target.labels >= 0).all() for one in samples)


def test_images_in_shards_give_the_same(tmp_path: Path) -> None:
    folder = AutoDataModule(
        write_shapes(tmp_path / "data", train=30, val=4, size=64), **without_splits()
    )
    Packer(place_of(str(tmp_path / "packed"), "out"), 20_480).pack(
        folder.whole_splits(), "x", "coco"
    )
    packed = AutoDataModule(str(tmp_path / "packed"), **without_splits())
    folder.augmentation = packed.augmentation = mixed()
    assert all(map(same, of_epoch(folder, 1), of_epoch(packed, 1)))


def test_in_a_window_of_shards_partners_are_of_the_same_shard(tmp_path: Path) -> None:
    folder = AutoDataModule(write_shapes(tmp_path / "data", train=60, val=4, size=64))
    Packer(place_of(str(tmp_path / "packed"), "out"), 20_480).pack(
        folder.whole_splits(), "x", "coco"
    )
    packed = AutoDataModule(str(tmp_path / "packed"), shuffle_window=1, **without_splits())
    packed.augmentation = mixed(mosaic=1.0)
    dataset: Any = packed.train_dataloader().dataset
    shard = packed.train.elsewhere.rows.shard  # type: ignore[union-attr]
    assert shard.max() > 2
    asked: list[int] = []
    read = dataset._read

    def noted(image: int, unreadable: list[str]) -> tuple[int, Scene]:
        asked.append(image)
        result: tuple[int, Scene] = read(image, unreadable)
        return result

    dataset._read = noted
    for image in range(60):
        asked.clear()
        _ = dataset[0, image]
        assert len(asked) == 4 and set(shard[asked].tolist()) == {int(shard[image])}


def without_splits() -> dict[str, Any]:
    return {key: value for key, value in OPTIONS.items() if not key.endswith("split")}


def test_what_is_no_mix_is_refused() -> None:
    parts = (mixed().then, mixed().weak, 64, 64)
    transform: Any = A.HorizontalFlip()
    with pytest.raises(UserError, match=r"augment\.mixes\.flip: gives a HorizontalFlip, not a mix"):
        MixedAugmentation({"flip": transform}, *parts)
    with pytest.raises(UserError, match=r"augment\.weak_end=1\.5: give a number in \[0, 1\]"):
        MixedAugmentation({}, *parts, weak_end=1.5)
    assert MixedAugmentation({"mosaic": None}, *parts).mixes == {}


def test_a_mix_of_ones_own(shapes: ShapesDataModule) -> None:
    class Darker(Mix):
        partners = 0

        def __call__(
            self, scene: Scene, others: Sequence[Scene], random: np.random.Generator
        ) -> Scene:
            return Scene(scene.image // 2, scene.boxes_xyxy, scene.labels)

    augmentation = mixed()
    augmentation.mixes = {"darker": Darker(1.0, 0.0)}
    augmentation.then = augmentation.weak
    dataset = DetectionDataset(shapes.train, augmentation, seed=0)
    plain = DetectionDataset(shapes.train, augmentation.weak, seed=0)
    assert torch.equal(dataset[0, 3].image, plain[0, 3].image // 2)


def test_the_summary_says_what_is_on() -> None:
    text = mixed(0.1, mosaic=0.5, mixup=0.0).in_words(50)
    assert text == (
        "mosaic 0.5, ShorterSide, HorizontalFlip; in the last 5 of 50 epochs ShorterSide alone"
    )
    assert mixed(0.0, mosaic=0.5).in_words(50) == "mosaic 0.5, ShorterSide, HorizontalFlip"
