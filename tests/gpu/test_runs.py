"""The commands on a GPU: runs that go on exactly, in every precision, and what goes wrong."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.cli.running import FINDING, SMALL, Command
from tests.cli.test_resume import RUN, check_same, environment, interrupted

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def there(device: torch.device) -> None:
    """Every test of this file needs the GPU that ``trainer.accelerator=auto`` finds."""


@pytest.fixture
def gpu(device: torch.device) -> tuple[str, ...]:
    return ("trainer.accelerator=" + ("gpu" if device.type == "cuda" else "cpu"),)


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def figures(run: Path) -> dict[str, float]:
    read = json.loads((run / "metrics.json").read_text())
    return {name: read[name] for name in ("AP", "AP50", "AR100")}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_learns_and_is_measured_alike_on_the_processor(
    command: Command, tmp_path: Path, precision: str, gpu: tuple[str, ...], device: torch.device
) -> None:
    run = command("train", *FINDING, *gpu, f"trainer.precision={precision}", "run_dir=run")
    assert run.code == 0, run.err
    if device.type == "cuda":
        assert "CUDAAccelerator" in run.out and "GPU memory" in run.out
    assert "no GPU found" not in run.out or device.type == "cpu"
    found = figures(tmp_path / "run")
    assert found["AP"] > 0
    for place in ("cpu", "auto"):
        words = ("ckpt=run/checkpoints/best.ckpt", f"trainer.accelerator={place}")
        test = command("test", *words, "trainer.precision=32-true", f"run_dir={place}")
        assert test.code == 0, test.err
        near = 0.02 if precision == "32-true" else 0.1
        assert figures(tmp_path / place) == pytest.approx(found, abs=near)


@pytest.mark.parametrize(
    "words",
    ["", "trainer.precision=16-mixed", "trainer.precision=bf16-mixed data.num_workers=2"],
    ids=["float32", "float16", "bfloat16"],
)
def test_a_run_goes_on_as_if_nothing_had_been(
    command: Command, tmp_path: Path, words: str, gpu: tuple[str, ...]
) -> None:
    given = (*gpu, "trainer.deterministic=true", "checkpoint.every_n_steps=4", *words.split())
    run = command("train", *RUN, *given, "run_dir=whole")
    assert run.code == 0, run.err
    done = interrupted(tmp_path, "AtStep,step=14", *given)
    assert done.returncode != 0, done.stdout
    again = command("train", "resume=cut")
    assert again.code == 0, again.err
    check_same(tmp_path / "whole", tmp_path / "cut")


def test_a_run_moves_between_processor_and_gpu(
    command: Command, tmp_path: Path, gpu: tuple[str, ...]
) -> None:
    one = interrupted(tmp_path, "AtStep,step=14", "trainer.accelerator=cpu")
    assert one.returncode != 0, one.stdout
    assert command("train", "resume=cut", *gpu).code == 0
    (tmp_path / "cut").rename(tmp_path / "first")
    other = interrupted(tmp_path, "AtStep,step=14", *gpu)
    assert other.returncode != 0, other.stdout
    assert command("train", "resume=cut", "trainer.accelerator=cpu").code == 0
    for run in ("first", "cut"):
        found = losses(tmp_path / run)
        assert len(found) == 30 and found[-1] < found[0]


def test_a_compiled_run_loses_what_a_plain_one_does(
    command: Command, tmp_path: Path, gpu: tuple[str, ...]
) -> None:
    for name, words in (("plain", ()), ("compiled", ("trainer.compile=true",))):
        steps = ("trainer.max_steps=3", "trainer.log_every_n_steps=1")
        run = command("train", *SMALL, *steps, *gpu, *words, f"run_dir={name}")
        assert run.code == 0, run.err
    plain, compiled = losses(tmp_path / "plain"), losses(tmp_path / "compiled")
    assert len(plain) == 3 and compiled == pytest.approx(plain, rel=2e-2)


def test_images_are_predicted_alike_on_both(
    command: Command, tmp_path: Path, gpu: tuple[str, ...], device: torch.device
) -> None:
    run = command("train", *FINDING, *gpu, "run_dir=run")
    assert run.code == 0, run.err
    images = sorted(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.png"))
    images = images or sorted(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.jpg"))
    assert images
    found = []
    for place in ("cpu", "auto"):
        words = ("ckpt=run/checkpoints/best.ckpt", f"device={place}", "score_threshold=0.05")
        done = command("predict", *words, f"source={images[0].parent}", f"out=on_{place}")
        assert done.code == 0, done.err
        rows = json.loads((tmp_path / f"on_{place}" / "predictions.json").read_text())
        found.append(sorted(row["score"] for row in rows))
    assert found[1] == pytest.approx(found[0], abs=1e-3) and found[0]


def test_what_does_not_fit_into_memory_is_one_line(
    command: Command, tmp_path: Path, gpu: tuple[str, ...], device: torch.device
) -> None:
    if device.type != "cuda":
        pytest.fail("only a GPU's memory can be filled")
    torch.zeros(1, device=device)
    held = []
    free = torch.cuda.mem_get_info(device)[0]
    for part in (free - 600 * 2**20, *([64 * 2**20] * 8)):
        try:
            held.append(torch.empty(part, dtype=torch.uint8, device=device))
        except torch.OutOfMemoryError:
            break
    try:
        words = ("data.batch_size=24", "model.fpn.channels=256", "model.head.num_convs=4")
        large = ("data.shorter_side=640", "data.longer_side=640")
        run = command("train", *SMALL, *gpu, *words, *large, "run_dir=run")
    finally:
        held.clear()
        torch.cuda.empty_cache()
    assert run.code == 2, run.err
    assert run.err.count("error:") == 1 and "memory" in run.err.lower()
    assert "Traceback" not in run.err and "data.batch_size" in run.err


def test_jobs_of_a_sweep_share_the_gpu(
    command: Command, tmp_path: Path, gpu: tuple[str, ...]
) -> None:
    words = (*SMALL, *gpu, "schedule.max_epochs=1", "seed=0,1", "sweep.parallel=2")
    done = subprocess.run(
        [sys.executable, "-m", "fcos_lightning.cli.train", "-m", *words, "sweep.dir=sweep"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "sweep").rglob("best.ckpt"))) == 2
