"""What the tests of several devices run, as a process of its own: Lightning starts its ranks.

``python distributed_scenes.py OUT DEVICES SCENE...`` writes ``OUT/rank0.pt`` and so on.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import SGD
from torch.utils.data import DataLoader

from fcos_lightning import build_fcos
from fcos_lightning.data import ShapesDataModule
from fcos_lightning.detector import FCOS, DenseDetector
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.structures import Batch, Detections, Images, Points, Prediction, Target, Targets
from fcos_lightning.training.callbacks.ema import EMA
from fcos_lightning.training.callbacks.guard import StopOnNonFinite
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.schedule import Schedule
from fcos_lightning.training.testing import evaluate

IMAGE_PX = 64


def tiny(**options: Any) -> FCOS:
    """A detector without anything that depends on who else is in the batch."""
    torch.manual_seed(0)
    return build_fcos(
        class_names=("circle", "square", "triangle", "star", "ring"),
        category_ids=(1, 2, 3, 4, 5),
        backbone={"name": "resnet18", "weights": None, "norm": "frozen", "frozen_stages": 0},
        fpn={"channels": 16, "levels": [3, 4, 5]},
        head={"num_convs": 1, **options},
    )


def shapes(cache: Path, train_images: int, val_images: int, batch_size: int) -> ShapesDataModule:
    return ShapesDataModule(
        cache,
        train_images=train_images,
        val_images=val_images,
        image_px=IMAGE_PX,
        train_split="train",
        val_split="val",
        batch_size=batch_size,
        eval_batch_size=1,
        shorter_side=IMAGE_PX,
        longer_side=IMAGE_PX,
        num_workers=0,
    )


def settings(devices: int) -> dict[str, Any]:
    """Where the scenes play: on processes of the processor, or all on one GPU (FCOS_SCENES_ON)."""
    accelerator = os.environ.get("FCOS_SCENES_ON", "cpu")
    if "FCOS_SCENES_NODES" in os.environ:  # each process takes itself for a machine of its own
        talk = DDPStrategy(process_group_backend="gloo")
        return {"accelerator": accelerator, "devices": 1, "num_nodes": devices, "strategy": talk}
    strategy = "ddp" if devices > 1 else "auto"
    return {"accelerator": accelerator, "devices": devices, "strategy": strategy}


class KeepGradients(L.Callback):
    """Keeps the gradients that the first optimiser step is made of."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not self.gradients:
            self.gradients = {
                name: parameter.grad.clone()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }


class KeepClipped(KeepGradients):
    """Keeps the gradients of the last step, as the optimiser saw them."""

    def on_before_optimizer_step(self, *args: Any) -> None:
        """They are clipped after this."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        named = pl_module.named_parameters()
        self.gradients = {n: p.grad.clone() for n, p in named if p.grad is not None}


def fit(
    module: FCOSModule,
    data: Any,
    devices: int,
    accumulate: int,
    steps: int,
    callback: L.Callback,
    **more: Any,
) -> None:
    L.Trainer(
        **settings(devices),
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        callbacks=[callback, *more.pop("callbacks", [])],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        **more,
    ).fit(module, datamodule=data)


def gradients(
    out: Path, devices: int, accumulate: int, detector: DenseDetector | None = None
) -> dict[str, Tensor]:
    """The gradients of one optimiser step on the same four images."""
    data = shapes(out.parent / "cache", 4, 1, 4 // accumulate)
    schedule = Schedule(SGD, lr=0.01, max_steps=1)
    keep = KeepGradients()
    module = FCOSModule(detector or tiny(), schedule, data.batch_size)
    fit(module, data, devices, accumulate, 1, keep)
    return keep.gradients


#: Of ``conf/method/``: mappings that look at boxes alone, and those that look at predictions.
STATIC = ("fcos_plain", "fcos_iou", "atss", "foveabox", "centernet", "densebox", "ssd")
LOOKING = ("gfl", "tal", "dsla")
METHODS = (*STATIC, *LOOKING)


def of_method(method: str) -> DenseDetector:
    """The tiny net of a method, without anything that depends on who else is in the batch."""
    overrides = [f"method={method}", "model=tiny", "model.backbone.norm=frozen"]
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = hydra.compose("train", overrides)
    torch.manual_seed(0)
    names = ("circle", "square", "triangle", "star", "ring")
    detector = make(config, "model", class_names=names, category_ids=(1, 2, 3, 4, 5))
    assert isinstance(detector, DenseDetector)
    return detector


def methods(out: Path, devices: int, accumulate: int) -> dict[str, dict[str, Tensor]]:
    """The gradients of each method on the same four images."""
    return {name: gradients(out, devices, accumulate, of_method(name)) for name in METHODS}


class OneRankEmpty(L.LightningDataModule):
    """The images of every rank but the first have no boxes."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]])[: 1 if self.trainer.global_rank == 0 else 0]
        target = Target(boxes, torch.zeros(len(boxes), dtype=torch.long))
        pixels = torch.full((3, IMAGE_PX, IMAGE_PX), 99, dtype=torch.uint8)
        size = torch.tensor([[IMAGE_PX, IMAGE_PX]])
        batch = Batch(Images.pad([pixels], 32), Targets.stack([target]), torch.tensor([1]), size)
        return DataLoader([batch] * self.steps, batch_size=None)


class CountGradients(L.Callback):
    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.steps = 0
        self.losses: list[float] = []

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.steps += 1
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                self.missing.add(name)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self.losses.append(float(outputs["loss"]))


def empty_rank(out: Path, devices: int, accumulate: int) -> dict[str, Any]:
    """Fifty steps in which one rank has nothing to learn but background."""
    count = CountGradients()
    module = FCOSModule(tiny(), Schedule(SGD, lr=0.001, max_steps=50), devices)
    fit(module, OneRankEmpty(50), devices, accumulate, 50, count)
    return {
        "missing": sorted(count.missing),
        "steps": count.steps,
        "losses": count.losses,
        "weights": module.state_dict(),
    }


class LastRankNotFinite(FCOSModule):
    """The loss of the last rank is no number in the second step."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        last = self.global_rank == self.trainer.world_size - 1
        return loss * float("nan") if last and self.global_step == 1 else loss


class WriteDown(L.Callback):
    """Writes down how a rank ends; the first, which ends the others, waits until all have."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        weights = torch.cat([weight.detach().flatten() for weight in pl_module.parameters()])
        said = {"kind": type(exception).__name__, "said": str(exception), "weights": weights}
        draft = self.out / f"draft{trainer.global_rank}.pt"
        torch.save(said, draft)
        draft.rename(self.out / f"ended{trainer.global_rank}.pt")
        until = time.monotonic() + 60
        while trainer.is_global_zero and time.monotonic() < until:
            if len(list(self.out.glob("ended*.pt"))) == trainer.world_size:
                break
            time.sleep(0.05)


def not_finite(out: Path, devices: int, accumulate: int) -> dict[str, Any]:
    """A run of five steps that all ranks have to leave in the second."""
    module = LastRankNotFinite(tiny(), Schedule(SGD, lr=0.001, max_steps=5), devices)
    with suppress(Exception):
        guard = StopOnNonFinite()
        fit(module, OneRankEmpty(5), devices, accumulate, 5, guard, callbacks=[WriteDown(out)])
    return {}


class Knowing(FCOS):
    """Finds the boxes that are there, a little beside the mark, whoever asks and beside whom."""

    truth: dict[int, tuple[Tensor, Tensor]]
    ever_seen: list[int]

    def forward(self, images: Images) -> Prediction:
        self.seen = [int(image.long().sum()) for image in images.pixels]
        self.ever_seen += self.seen
        return super().forward(images)

    def decode(self, prediction: Prediction, points: Points, sizes_hw: Tensor) -> list[Detections]:
        found = []
        for key in self.seen:
            boxes, labels = self.truth[key]
            random = torch.Generator().manual_seed(key % 1000)
            moved = boxes + 4 * torch.randn(boxes.shape, generator=random)
            moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 1)
            scores = torch.rand(len(boxes), generator=random)
            found.append(Detections(moved, scores, labels))
        return found


def evaluation(out: Path, devices: int, accumulate: int) -> dict[str, Any]:
    """AP over 21 images, which no number of ranks divides."""
    data = shapes(out.parent / "cache21", 4, 21, 4)
    detector = tiny()
    detector.__class__ = Knowing
    assert isinstance(detector, Knowing)
    detector.truth, detector.ever_seen = {}, []
    for index in range(len(data.val)):
        boxes, labels = data.val.target(index)
        key = int(torch.from_numpy(data.val.image(index)).long().sum())
        detector.truth[key] = (torch.from_numpy(boxes), torch.from_numpy(labels))
    summary, table, _ = evaluate(detector, data, settings(devices), progress=False)
    return {
        "summary": summary,
        "images": sorted(detector.truth),
        "seen": detector.ever_seen,
        "rows": len(table.scores),
    }


def features(out: Path, devices: int, accumulate: int) -> dict[str, Any]:
    """EMA, clipping and bf16 together."""
    data = shapes(out.parent / "cache", 4, 1, 4)
    module = FCOSModule(tiny(), Schedule(SGD, lr=0.01, max_steps=3), 4)
    keep, ema = KeepClipped(), EMA(0.9)
    fit(
        module,
        data,
        devices,
        accumulate,
        3,
        keep,
        callbacks=[ema],
        gradient_clip_val=0.1,
        precision="bf16-mixed",
    )
    norm = torch.stack([g.norm() for g in keep.gradients.values()]).norm()
    return {"weights": module.state_dict(), "norm": float(norm)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # gradients are compared
    where, number, *scenes = sys.argv[1:]
    results = {scene: globals()[scene](Path(where), int(number), 1) for scene in scenes}
    # Lightning's launcher says of processes on one machine, too, on which machine they are.
    which = "NODE_RANK" if "FCOS_SCENES_NODES" in os.environ else "LOCAL_RANK"
    rank = os.environ.get(which, "0")
    torch.save(results, Path(where) / f"rank{rank}.pt")
