import os
import signal
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.accelerators import Accelerator, CPUAccelerator, CUDAAccelerator
from PIL import Image
from tests.evaluation.scenes import ground_truth
from torch import Tensor, nn

from fcos_lightning import build_fcos
from fcos_lightning.errors import UserError
from fcos_lightning.inference.pictures.drawing import COLOURS, draw
from fcos_lightning.storage.replacing import remove_drafts
from fcos_lightning.structures import Batch, Detections, Images, Target, Targets
from fcos_lightning.training.callbacks import monitor as monitor_module
from fcos_lightning.training.callbacks.ema import EMA
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.callbacks.monitor import Monitor
from fcos_lightning.training.callbacks.previews import Previews
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
from fcos_lightning.training.loggers.csv_log import RunCSVLogger
from fcos_lightning.training.module import FCOSModule


class Toy(L.LightningModule):
    """Its weight is set by the gradient, so that the average can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm1d(1)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        self.norm(batch.view(-1, 1).float())
        return -self.weight.sum()  # every step of SGD at rate 1 adds 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=1.0)


def test_an_average_that_never_moves_is_refused() -> None:
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match=r"callbacks\.ema\.decay="):
            EMA(decay)


def test_the_average_warms_up_and_counters_are_copied(tmp_path: Path) -> None:
    ema, toy = EMA(decay=0.5), Toy()
    trainer = L.Trainer(
        max_epochs=1,
        callbacks=[ema],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        accelerator="cpu",
    )
    trainer.fit(toy, torch.utils.data.DataLoader(torch.arange(12), batch_size=2))
    average, number = 1.0, 1  # the first step's weights start it
    for weight in range(2, 7):
        keep = min(0.5, (1 + number) / (10 + number))
        average, number = keep * average + (1 - keep) * weight, number + 1
    assert toy.weight.item() == pytest.approx(average)  # after the run the average is in place
    assert int(toy.norm.num_batches_tracked) == 6


def test_a_checkpoint_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, file = AtomicCheckpointIO(), tmp_path / "a" / "last.ckpt"
    writer.save_checkpoint({"step": 1}, file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device; the one before is intact"):
        writer.save_checkpoint({"step": 2}, file)
    monkeypatch.undo()
    assert torch.load(file, weights_only=True) == {"step": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]  # no debris
    writer.save_checkpoint({"step": 3}, file)
    assert torch.load(file, weights_only=True) == {"step": 3}


def test_after_any_of_100_kills_the_newest_checkpoint_or_the_one_before_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TMPDIR lies on another file system, where there is one: moving from there is a copy."""
    if Path("/dev/shm").is_dir():
        monkeypatch.setenv("TMPDIR", "/dev/shm")
    file, random, newest = tmp_path / "last.ckpt", Random(0), 0
    moments = set()
    for _ in range(100):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # saves one after the other until it is killed
            try:
                torch.set_num_threads(1)  # a fork has none of its parent's threads to wait for
                for step in range(newest + 1, newest + 1000):
                    content = {"step": step, "w": torch.full((200_000,), float(step))}
                    AtomicCheckpointIO().save_checkpoint(content, file)
                    os.write(writer, step.to_bytes(4, "big"))
            finally:
                os._exit(1)
        os.close(writer)
        os.read(reader, 4)
        time.sleep(random.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = newest + 1
        while number := os.read(reader, 4):
            told = int.from_bytes(number, "big")
        os.close(reader)
        content = torch.load(file, weights_only=True)
        assert content["step"] in (told, told + 1)  # it may have been renamed and not yet told
        assert (content["w"] == content["step"]).all()
        newest = content["step"]
        moments.add(len(list(tmp_path.glob(".last.ckpt.*"))))
    assert len(moments) > 1  # some of the kills came while a file was being written
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_metrics_csv_goes_on_where_it_ended(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        logger = RunCSVLogger(str(tmp_path))
        logger.log_metrics({"loss": value}, step=int(value))
        logger.save()
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["loss,step", "1.0,1", "2.0,2"]


def test_boxes_and_names_are_drawn_where_they_are() -> None:
    image = torch.zeros(3, 200, 200, dtype=torch.uint8)
    boxes = torch.tensor([[20.0, 60.0, 120.0, 150.0], [-5.0, -5.0, 30.0, 30.0]])
    drawn = draw(image, boxes, torch.tensor([1, 0]), ("cat", "dog"), torch.tensor([0.9, 0.5]))
    assert image.sum() == 0  # the original is left alone
    blue = torch.tensor([int(COLOURS[1][i : i + 2], 16) for i in (1, 3, 5)], dtype=torch.uint8)
    assert torch.equal(drawn[:, 100, 20], blue)  # left side
    assert torch.equal(drawn[:, 150, 70], blue)  # bottom side
    assert torch.equal(drawn[:, 100, 70], torch.zeros(3, dtype=torch.uint8))  # inside stays
    assert torch.equal(draw(image, boxes[:0], torch.zeros(0), None), image)


class Watched:
    """What ``Monitor`` looks at of a trainer, between steps that it does not log."""

    current_epoch, max_epochs, callback_metrics, callbacks = 0, 3, {}, ()
    num_devices, world_size, log_every_n_steps, is_last_batch = 1, 1, 50, False

    def __init__(self, accelerator: type[Accelerator]) -> None:
        self.accelerator = accelerator.__new__(accelerator)


@pytest.mark.parametrize(
    ("accelerator", "processors", "remedy"),
    [
        (CUDAAccelerator, 2, "raise data.num_workers, or lower data.shorter_side"),
        (CPUAccelerator, 2, None),
        (CPUAccelerator, 8, "leave it a processor by data.num_workers=1 and OMP_NUM_THREADS=7"),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
def test_waiting_for_data_is_remarked_upon_with_the_knob(
    accelerator: type[Accelerator],
    processors: int,
    remedy: str | None,
    slow: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = [100.0]
    monkeypatch.setattr(monitor_module.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(monitor_module, "processor_count", lambda: processors)
    sizes = torch.full((2, 2), 8)
    none = Targets.stack([Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))] * 2)
    batch = Batch(Images(torch.zeros(2, 3, 8, 8), sizes), none, torch.arange(2), sizes)
    trainer: Any = Watched(accelerator)
    monitor = Monitor()
    for _ in range(2):
        monitor.on_train_epoch_start(trainer, Toy())
        for index in range(11):
            clock[0] += 3.0 if slow else 0.05  # the first of these is the start of the loaders
            monitor.on_train_batch_start(trainer, Toy(), batch, index)
            clock[0] += 1.0
            monitor.on_train_batch_end(trainer, Toy(), None, batch, index)
        monitor.on_train_epoch_end(trainer, Toy())
    lines = capsys.readouterr().out.splitlines()
    share = "73%" if slow else "4%"
    remarks = [line for line in lines if not line.startswith("epoch 1/3")]
    assert len(lines) - len(remarks) == 2
    assert lines[0].endswith(f"images/s, waiting for data {share}")
    assert len(remarks) == (slow and remedy is not None)
    if remarks:
        assert remarks[0].startswith(f"training waited 73% of the epoch for data: {remedy}")


def test_an_epochs_line_has_no_figure_of_an_earlier_one(capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = Watched(CPUAccelerator)
    trainer.callback_metrics = {"train/loss": 2.0, "val/AP": 0.25, "val/AP50": 0.5}
    monitor = Monitor()
    for measured, sanity in ((False, False), (True, True), (True, False), (False, False)):
        trainer.sanity_checking = sanity
        monitor.on_train_epoch_start(trainer, Toy())
        if measured:
            monitor.on_validation_end(trainer, Toy())
        monitor.on_train_epoch_end(trainer, Toy())
    lines = capsys.readouterr().out.splitlines()
    assert ["AP 0.250, AP50 0.500" in line for line in lines] == [False, False, True, False]
    assert ["AP" in line for line in lines] == [False, False, True, False]
    assert all("loss 2.000" in line for line in lines)


def test_a_detector_whose_boxes_have_no_area_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def found(*boxes: list[float]) -> Detections:
        labels = torch.zeros(len(boxes), dtype=torch.int64)
        return Detections(torch.tensor(boxes).reshape(-1, 4), torch.ones(len(boxes)), labels)

    flat, whole = [4.0, 4.0, 4.0, 9.0], [4.0, 4.0, 5.0, 9.0]
    evaluation = Evaluation(ground_truth({0: [([4.0, 4.0, 5.0, 9.0], 0)], 1: []}))
    trainer: Any = Watched(CPUAccelerator)
    trainer.sanity_checking, trainer.callbacks = False, [evaluation]
    monitor = Monitor()
    said = []
    for batches in (
        [found(), found()],
        [found(flat), found(whole)],
        [found(flat, flat), found()],
        [found(flat), found()],
    ):
        monitor.on_train_epoch_start(trainer, Toy())
        evaluation.metric.reset()
        for image_id, detections in zip(evaluation.metric.truth.image_ids, batches, strict=True):
            evaluation.metric.update(torch.tensor([image_id]), [detections])
        evaluation.metric.compute()
        monitor.on_validation_end(trainer, Toy())
        monitor.on_train_epoch_end(trainer, Toy())
        said.append("no detection has an area" in capsys.readouterr().out)
    assert said == [False, False, True, False]


@pytest.mark.parametrize("size", [(1, 1333), (1333, 2), (3, 5)])
def test_previews_of_very_long_images(tmp_path: Path, size: tuple[int, int]) -> None:
    previews = Previews(tmp_path)
    image = torch.zeros(3, *size, dtype=torch.uint8)
    sizes = torch.tensor([size])
    box = Target(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0]))
    batch = Batch(Images.pad([image], 32), Targets.stack([box]), torch.arange(1), sizes)
    found = Detections(box.boxes_xyxy, torch.tensor([0.9]), box.labels)
    trainer: Any = SimpleNamespace(is_global_zero=True, current_epoch=0, global_step=0, loggers=[])
    detector = build_fcos(
        num_classes=1,
        backbone={"name": "tiny", "norm": "trained", "weights": None},
        fpn={"channels": 16, "levels": [3, 4]},
        head={"num_convs": 1},
    )
    module = FCOSModule(detector)
    previews.on_validation_batch_end(trainer, module, {"detections": [found]}, batch, 0)
    previews.on_validation_epoch_end(trainer, module)
    with Image.open(tmp_path / "epoch_001.jpg") as picture:
        assert max(picture.size) < 12_000
