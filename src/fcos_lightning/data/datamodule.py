"""Streams batches of a data set, whatever its layout on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator
from torch.utils.data import DataLoader

from fcos_lightning.data.augment import Augmentation, ShorterSide
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.data.batches.dataset import DetectionDataset
from fcos_lightning.data.batches.epochs import weak_from
from fcos_lightning.data.batches.loader import (
    HandedOver,
    StepLoader,
)
from fcos_lightning.data.batches.sampler import EpochBatchSampler, EvaluationSampler, share_of_batch
from fcos_lightning.data.batches.views import CollateViews, ViewsDataset
from fcos_lightning.data.batches.windows import windows_of
from fcos_lightning.data.batches.workers import check_workers, chosen_workers, start_worker
from fcos_lightning.data.images import LARGEST_PX
from fcos_lightning.data.mixing.mixed import MixedAugmentation
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.splits.split_reader import SplitReader
from fcos_lightning.data.stores.ahead import ahead_of
from fcos_lightning.errors import UserError
from fcos_lightning.lightning_internals import place_in_run
from fcos_lightning.structures import Batch, Views
from fcos_lightning.structures.batches import LARGEST_SIDES

#: A batch up to this may repeat the images of a small split.
_LARGE_BATCH = 1024


class DetectionDataModule(SplitReader, L.LightningDataModule):
    """Streams batches of images and ground truth; subclasses say how a split is read.

    Args:
        train_split: name of the split to learn from; it defines the classes. ``auto``, where a
            subclass can tell, finds it by its usual name, and so of the other two.
        val_split: name of the split to choose the best epoch by; None: a share of ``train_split``
            is split off.
        test_split: name of the split that the best epoch is measured on in the end; None: none.
        val_share: how much is split off.
        batch_size: of training, over all devices.
        eval_batch_size: of evaluation, on each device. At 1 no image is padded to the size of
            another, which is how reference AP is computed.
        shorter_side: of evaluated images after resizing, in pixels.
        longer_side: what the longer side may at most become, in pixels.
        augmentation: of training images; None: only the resizing of evaluation.
        num_workers: loader processes of each device; None: none where the processor itself
            trains, since a busy third process makes two computing threads wait for each other
            (three times slower on two cores), else one less than its share of the processors, at
            most 8.
        group_by_aspect: keep wide and high images in separate batches.
        on_bad_image: ``error`` or ``skip``, see ``DetectionDataset``.
        max_pixels: larger images are refused before anything of them is decoded.
        strict: refuse boxes of no size or outside their image instead of dropping them.
        ignore: boxes that are to be ignored, as COCO's crowds and VOC's difficult objects, make
            their ``points`` neither positive nor background; ``none``: they are background, as in
            the papers' code.
        seed: of the order of images and of the augmentation.
        size_multiple: height and width of batches are rounded up to a multiple of this.
        shuffle_window: of images in shards: so many shards at a time are shuffled together; None:
            all of them, or from object storage as many as leave room in the cache.
        train_share: how much of the training images is learnt from, drawn by their names; smaller
            shares lie in larger ones. The classes are those of all.
        cache_gb: how much of what comes from object storage is kept on this machine; 0: nothing.
    """

    def __init__(
        self,
        *,
        train_split: str,
        val_split: str | None,
        test_split: str | None = None,
        val_share: float = 0.2,
        batch_size: int = 16,
        eval_batch_size: int = 1,
        shorter_side: int = 800,
        longer_side: int = 1333,
        augmentation: Augmentation | MixedAugmentation | None = None,
        num_workers: int | None = None,
        group_by_aspect: bool = True,
        on_bad_image: Literal["error", "skip"] = "error",
        strict: bool = False,
        ignore: Literal["points", "none"] = "none",
        seed: int = 0,
        size_multiple: int = 32,
        max_pixels: int = LARGEST_PX,
        shuffle_window: int | None = None,
        cache_gb: float = 50.0,
        train_share: float = 1.0,
    ) -> None:
        L.LightningDataModule.__init__(self)
        SplitReader.__init__(
            self,
            train_split,
            val_split,
            test_split,
            val_share,
            on_bad_image,
            max_pixels,
            train_share,
        )
        for key, value in (
            ("batch_size", batch_size),
            ("eval_batch_size", eval_batch_size),
            ("shorter_side", shorter_side),
            ("longer_side", longer_side),
            ("max_pixels", max_pixels),
            ("shuffle_window", 1 if shuffle_window is None else shuffle_window),
        ):
            if value < 1:
                raise UserError(f"data.{key}={value}: give at least 1")
            if value > LARGEST_SIDES.get(key, value):
                raise UserError(f"data.{key}={value}: give at most {LARGEST_SIDES[key]} pixels")
        if not 0 <= cache_gb < math.inf:
            raise UserError(f"data.cache_gb={cache_gb}: give 0 or more")
        if num_workers is not None:
            check_workers(num_workers)
        if on_bad_image not in ("error", "skip"):
            raise UserError(f"data.on_bad_image={on_bad_image}: give error or skip")
        if ignore not in ("points", "none"):
            raise UserError(f"data.ignore={ignore}: give points or none")
        self.ignore: Literal["points", "none"] = ignore
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.shorter_side = shorter_side
        self.longer_side = longer_side
        self.resize = Augmentation([ShorterSide(shorter_side, longer_side)])
        self.augmentation = augmentation or self.resize
        self.num_workers = num_workers
        self.group_by_aspect = group_by_aspect
        self.strict = strict
        self.seed = seed
        self.collate = Collate(size_multiple)
        self.shuffle_window = shuffle_window
        self.cache_gb = cache_gb

    @property
    def train(self) -> DataSplit:
        """The split to learn from, see ``SplitReader``; a batch of another order is refused."""
        split = super().train
        windows = windows_of(split, self.shuffle_window)
        if windows is not None and not windows.is_whole:
            self.shuffle_window = windows.shards  # which a run writes down
        if self.batch_size > max(_LARGE_BATCH, len(split)):
            raise UserError(
                f"data.batch_size={self.batch_size}: the split {split.name} has only "
                f"{len(split)} images to fill it with; give at most that"
            )
        return split

    def share_of_batch(self, world_size: int) -> int:
        """Return the images of each device.

        Raises:
            UserError: if the devices cannot share a batch evenly.
        """
        return share_of_batch(self.batch_size, world_size)

    @property
    def batches_per_epoch(self) -> int:
        """How many batches hold every image of the training split."""
        return math.ceil(len(self.train) / self.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return this rank's batches to learn from."""
        share = self.share_of_batch(self._world_size)
        sizes = self.train.truth.sizes_hw
        epoch, start = place_in_run(self.trainer) if self.trainer else (0, 0)
        windows = windows_of(self.train, self.shuffle_window)
        sampler = EpochBatchSampler(
            sizes[:, 1] > sizes[:, 0],
            self.batch_size,
            seed=self.seed,
            rank=self._rank,
            world_size=self._world_size,
            group=self.group_by_aspect,
            epoch=epoch,
            start=start,
            windows=windows,
            ahead=ahead_of(self.train.images),
        )
        dataset = DetectionDataset(
            self.train,
            self.augmentation,
            self.seed,
            self.on_bad_image,
            max_pixels=self.max_pixels,
            ignore=self.ignore,
            weak_from=weak_from(self.augmentation, self.trainer, self.batches_per_epoch),
            shard=None if windows is None or windows.is_whole else windows.shard,
        )
        return self._loader(
            dataset,
            sampler,
            share,
            self.trainer.accumulate_grad_batches if self.trainer else 1,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return this rank's images to measure on, each exactly once over all ranks."""
        split = self.measured
        ahead = ahead_of(split.images)
        ranks = (self._rank, self._world_size)
        sampler = EvaluationSampler(len(split), self.eval_batch_size, *ranks, ahead)
        dataset = DetectionDataset(
            split,
            self.resize,
            self.seed,
            self.on_bad_image,
            training=False,
            max_pixels=self.max_pixels,
        )
        return self._loader(dataset, sampler, self.eval_batch_size)

    def views_dataloader(self, sizes: Sequence[int | None], longer_side: int) -> DataLoader[Views]:
        """Return this rank's images to measure on, each in several sizes.

        Args:
            sizes: shorter sides in pixels; None: as the image is.
            longer_side: what the longer side may at most become.
        """
        split = self.measured
        ahead = ahead_of(split.images)
        sampler = EvaluationSampler(len(split), 1, self._rank, self._world_size, ahead)
        workers = self._chosen_workers(1) if self.num_workers is None else self.num_workers
        return DataLoader(
            ViewsDataset(  # type: ignore[arg-type]
                split, sizes, longer_side, self.on_bad_image, self.max_pixels
            ),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=HandedOver(CollateViews(self.collate)),
            worker_init_fn=start_worker if workers else None,
        )

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the same of ``test_split``, or of ``val_split`` where there is none."""
        with self.measuring("test"):
            return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the same as ``val_dataloader``."""
        return self.val_dataloader()

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401  # Lightning's signature; Batch or Views
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Send a batch on its way; nobody waits for its arrival. Called by Lightning."""
        return batch.to(device, non_blocking=True)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _chosen_workers(self, images: int) -> int:
        """Return how many loader processes batches of so many images are given to."""
        if self.trainer is None or isinstance(self.trainer.accelerator, CPUAccelerator):
            return 0
        return chosen_workers(self.trainer.num_devices, images * 3 * self.longer_side**2)

    def _loader(
        self,
        dataset: DetectionDataset,
        sampler: EpochBatchSampler | EvaluationSampler,
        images: int,
        batches_per_step: int = 1,
    ) -> DataLoader[Batch]:
        workers = self.num_workers
        if workers is None:
            workers = self._chosen_workers(images)
        return StepLoader(
            dataset,
            batches_per_step=batches_per_step,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=self.collate,
            worker_init_fn=start_worker if workers else None,
            persistent_workers=workers > 0,
            # Only from such memory can a GPU fetch a batch while the processor goes on.
            pin_memory=self.trainer is not None
            and isinstance(self.trainer.accelerator, CUDAAccelerator),
        )
