"""Speed, waiting, positives: what tells a healthy run from a sick one."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.utilities import rank_zero_only

from fcos_lightning.printing import printable
from fcos_lightning.processors import processor_count
from fcos_lightning.structures import Batch
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.module import FCOSModule


class Monitor(L.Callback):
    """Logs images per second, the share of time spent waiting for data, and positives.

    Prints one line for each epoch, which log files keep where a progress bar leaves nothing.

    Args:
        warn_wait_share: waiting more than this share of an epoch is remarked upon, once.
    """

    def __init__(self, warn_wait_share: float = 0.1) -> None:
        self.warn_wait_share = warn_wait_share
        self.dropped_boxes = 0
        self.unreadable: set[str] = set()
        self._batch_ended = 0.0
        self._epoch_began = 0.0
        self._waited = 0.0
        self._images = 0
        self._remarked = False
        self._measured = False
        self._said_flat = False
        self.positives: dict[str, float] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks: a run resumed within an epoch does not begin one."""
        self._start_clocks()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks."""
        self._start_clocks()
        self._measured = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that figures are this epoch's; Lightning keeps those of earlier ones."""
        self._measured = not trainer.sanity_checking

    def _start_clocks(self) -> None:
        self._epoch_began = self._batch_ended = time.perf_counter()
        self._waited, self._images = 0.0, 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the last batch as waiting, but for the start of the loaders."""
        if self._images:
            self._waited += time.perf_counter() - self._batch_ended
        else:
            self._epoch_began = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log speed and positives every so many steps."""
        self._batch_ended = time.perf_counter()
        self._images += len(batch) * trainer.world_size
        self.dropped_boxes += batch.dropped_boxes
        self.unreadable.update(batch.unreadable)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if not every:
            return
        if (batch_idx + 1) % every and not trainer.is_last_batch:
            return
        assert isinstance(pl_module, FCOSModule) and pl_module.last_step is not None
        step = pl_module.last_step
        positive = step.assignment.positive
        counts = torch.split(positive.sum(dim=0), step.points.per_level)
        for stride, count in zip(step.points.strides, counts, strict=True):
            level = stride.bit_length() - 1  # level k has stride 2**k
            self.positives[f"P{level}"] = float(count.sum()) / len(batch)
        logged = {f"positives/{level}": count for level, count in self.positives.items()}
        ambiguous = (step.assignment.claims > 1).sum() / positive.sum().clamp(min=1)
        logged |= {
            "positives/per_image": sum(self.positives.values()),
            "positives/ambiguous": float(ambiguous),
            "speed/images_per_s": self.images_per_s,
            "speed/wait_share": self.wait_share,
            "speed/lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        pl_module.log_dict(logged, batch_size=len(batch))

    @property
    def images_per_s(self) -> float:
        """Images of all devices per second of this epoch."""
        return self._images / max(self._batch_ended - self._epoch_began, 1e-9)

    @property
    def wait_share(self) -> float:
        """Share of this epoch's time in which the device waited for data."""
        return self._waited / max(self._batch_ended - self._epoch_began, 1e-9)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the epoch's line, and which knob to turn if data was the bottleneck."""
        self._report(trainer)

    @rank_zero_only
    def _report(self, trainer: L.Trainer) -> None:
        figures = trainer.callback_metrics
        parts = [f"epoch {trainer.current_epoch + 1}"]
        if trainer.max_epochs and trainer.max_epochs > 0:
            parts[0] += f"/{trainer.max_epochs}"
        for key, name in (
            ("train/loss_epoch", "loss"),
            ("train/loss", "loss"),
            ("val/AP", "AP"),
            ("val/AP50", "AP50"),
        ):
            if key.startswith("val/") and not self._measured:
                continue
            if key in figures and not any(part.startswith(f"{name} ") for part in parts):
                value = float(figures[key])
                parts.append(f"{name} {value:.3f}" if math.isfinite(value) else f"{name} -")
        evaluations = [one for one in trainer.callbacks if isinstance(one, Evaluation)]  # type: ignore[attr-defined]  # set in its constructor
        measured = evaluations if self._measured else []
        parts.extend(
            f"of {one.summary['images_seen']} of {one.summary['images']} images"
            for one in measured
            if "images_seen" in one.summary
        )
        parts.append(f"{self.images_per_s:.1f} images/s")
        parts.append(f"waiting for data {self.wait_share:.0%}")
        print(", ".join(parts), flush=True)
        if self.wait_share > self.warn_wait_share and not self._remarked:
            if remedy := _remedy(trainer):
                share = f"{self.wait_share:.0%}"
                print(f"training waited {share} of the epoch for data: {remedy}", flush=True)
            self._remarked = True
        if any(one.metric.table.none_has_area for one in measured) and not self._said_flat:
            print(
                "no detection has an area: distances that are 0 everywhere learn nothing more; if "
                "this is not the first epoch, start anew with a lower schedule.lr",
                flush=True,
            )
            self._said_flat = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what was passed over, if anything was; called by Lightning."""
        self._say_passed_over()

    @rank_zero_only
    def _say_passed_over(self) -> None:
        if self.dropped_boxes:
            print(
                f"{self.dropped_boxes} boxes were left with less than a pixel by the augmentation"
            )
        if self.unreadable:
            first = printable(min(self.unreadable))
            print(f"{len(self.unreadable)} unreadable images were skipped: {first}, ...")


def _remedy(trainer: L.Trainer) -> str | None:
    """Say which knob gives training its data sooner; None where there is none."""
    if not isinstance(trainer.accelerator, CPUAccelerator):
        return "raise data.num_workers, or lower data.shorter_side"
    # Threads that compute must not share their processor with a loader, see DetectionDataModule;
    # of two processors neither can be spared.
    threads = processor_count() // trainer.num_devices - 1
    if threads < 2:
        return None
    return (
        f"leave it a processor by data.num_workers=1 and OMP_NUM_THREADS={threads} in the "
        "environment, or lower data.shorter_side"
    )
