"""Every command that is asked to stop, anywhere: one line, 128 plus the signal, no halves."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.running import SMALL, Command, Result

from fcos_lightning.runs.train import train

RUN = (*SMALL, "schedule.max_epochs=1", "callbacks.previews=null", "data.eval_batch_size=1")


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A background shell hands on SIGINT as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return train(*RUN, f"run_dir={folder / 'run'}").folder


def ask_in(
    monkeypatch: pytest.MonkeyPatch, place: str, signum: int, nth: int = 1, after: bool = False
) -> None:
    """Send the signal where a function is called, or when it is done."""
    module, _, name = place.rpartition(".")
    try:
        owner: Any = importlib.import_module(f"fcos_lightning.{module}")
    except ModuleNotFoundError:  # a class
        module, _, kind = module.rpartition(".")
        owner = getattr(importlib.import_module(f"fcos_lightning.{module}"), kind)
    whole, calls = getattr(owner, name), count(1)

    def ask(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)  # its own number: several threads may be here
        if call == nth and not after:
            os.kill(os.getpid(), signum)
        result = whole(*args, **kwargs)
        if call == nth and after:
            os.kill(os.getpid(), signum)
        return result

    monkeypatch.setattr(owner, name, ask)


def stopped(result: Result, signum: int) -> str:
    assert result.code == 128 + signum, (result.code, result.out, result.err)
    assert "Traceback" not in result.err + result.out
    lines = [line for line in (result.out + result.err).splitlines() if line.startswith("stopped")]
    assert len(lines) == 1 and lines[0].startswith(f"stopped by {signal.Signals(signum).name}")
    return lines[0]


@pytest.mark.parametrize(
    ("place", "signum"),
    [
        ("cli.app.run", signal.SIGINT),  # before anything is composed
        ("runs.session.make_datamodule", signal.SIGINT),  # reading
        ("runs.folder.save_config", signal.SIGTERM),
        ("training.callbacks.keep_last.KeepLast.on_train_start", signal.SIGUSR1),
        ("training.module.FCOSModule.training_step", signal.SIGINT),  # as where it is compiled
    ],
)
def test_a_run_that_is_stopped_before_its_first_step_leaves_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, signum: int
) -> None:
    ask_in(monkeypatch, place, signum)
    stopped(command("train", *RUN, "run_dir=run"), signum)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "nth", "signum"),
    [
        ("runs.ending.evaluate", 1, signal.SIGTERM),
        ("training.module.FCOSModule.validation_step", 9, signal.SIGTERM),  # 8 are of the epoch
        ("training.module.FCOSModule.validation_step", 9, signal.SIGINT),
        ("runs.ending.write_predictions", 1, signal.SIGINT),
    ],
)
def test_a_run_that_is_stopped_in_its_report_says_how_it_goes_on(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    nth: int,
    signum: int,
) -> None:
    with monkeypatch.context() as patched:
        ask_in(patched, place, signum, nth)
        line = stopped(command("train", *RUN, "run_dir=run"), signum)
    assert line.endswith("; go on with: fcos-train resume=run")
    assert not (tmp_path / "run/predictions.json").exists()
    if place.startswith("runs.ending.evaluate"):
        again = command("train", "resume=run")
        assert again.code == 0 and "nothing was left to train: all 3 steps" in again.out
        assert (tmp_path / "run/metrics.json").is_file()


@pytest.mark.parametrize(
    ("place", "signum"),
    [
        ("checkpoints.checkpoint.Checkpoint.read", signal.SIGINT),
        ("training.module.FCOSModule.validation_step", signal.SIGTERM),
        ("training.module.FCOSModule.validation_step", signal.SIGINT),
        ("evaluation.output.write_predictions", signal.SIGUSR1),
    ],
)
def test_a_test_that_is_stopped_leaves_nothing(
    command: Command,
    tmp_path: Path,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    signum: int,
) -> None:
    ask_in(monkeypatch, place, signum, after=True)
    words = (f"ckpt={trained}/checkpoints/best.ckpt", "trainer.accelerator=cpu")
    stopped(command("test", *words), signum)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_prediction_that_is_stopped_leaves_nothing(
    command: Command, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, signum: int
) -> None:
    ask_in(monkeypatch, "inference.outputs.DrawnImages.write", signum, nth=2, after=True)
    (tmp_path / "photos").mkdir()
    for name in "abc":
        pixels = np.zeros((40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{name}.png")
    best = f"ckpt={trained}/checkpoints/best.ckpt"
    stopped(command("predict", best, "source=photos", "out=out", "device=cpu"), signum)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGUSR1])
def test_a_conversion_that_is_stopped_leaves_nothing(
    command: Command, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, signum: int
) -> None:
    ask_in(monkeypatch, "checkpoints.checkpoint.Checkpoint.write", signum)
    best = f"ckpt={trained}/checkpoints/best.ckpt"
    stopped(command("convert", best, "out=m.safetensors"), signum)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["cli.sweep.compose", "sweeps.results.write_report"])
def test_a_sweep_that_is_stopped_before_or_after_its_jobs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("fcos_lightning.sweeps.runner.Runner.run", lambda self: None)
    ask_in(monkeypatch, place, signal.SIGINT)
    stopped(command("train", "-m", "seed=0,1", *RUN, "sweep.dir=s"), signal.SIGINT)
