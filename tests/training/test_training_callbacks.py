import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from fcos_lightning.drawing import COLOURS, draw
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
from fcos_lightning.training.csv_log import RunCSVLogger
from fcos_lightning.training.ema import EMA


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
    with pytest.raises(OSError, match="No space"):
        writer.save_checkpoint({"step": 2}, file)
    monkeypatch.undo()
    assert torch.load(file, weights_only=True) == {"step": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]  # no debris
    writer.save_checkpoint({"step": 3}, file)
    assert torch.load(file, weights_only=True) == {"step": 3}


def test_a_kill_while_saving_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import torch
        from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
        writer, step = AtomicCheckpointIO(), 0
        while True:
            step += 1
            content = {{"step": step, "w": torch.zeros(500_000)}}
            writer.save_checkpoint(content, "{tmp_path}/last.ckpt")
            print(step, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        said = int(process.stdout.readline())
    time.sleep(0.003)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["step"] >= said


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
