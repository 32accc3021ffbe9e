"""Several processes on one GPU, which talk by gloo: NCCL wants a GPU for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.running import FINDING, Command
from tests.cli.test_nodes import free_port, together
from tests.training import distributed_scenes as scenes
from tests.training.test_distributed import check_gradients

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def on_it(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCOS_SCENES_ON", "gpu" if device.type == "cuda" else "cpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # as in the other processes


def nodes(number: int) -> list[dict[str, str]]:
    """The variables of so many machines of one process each, all on this one."""
    port = str(free_port())
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "FCOS_SCENES_NODES": "1"}
    return [{**common, "NODE_RANK": str(node)} for node in range(number)]


def play(out: Path, number: int, *names: str) -> list[dict[str, Any]]:
    """Run scenes on so many processes; return what each rank found."""
    out.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, scenes.__file__, str(out), str(number), *names],
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for variables in nodes(number)
    ]
    printed = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * number, "\n".join(printed)
    return [torch.load(out / f"rank{rank}.pt") for rank in range(number)]


def test_ranks_have_the_gradients_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    alone = scenes.gradients(tmp_path / "1", 1, 1)
    each = scenes.methods(tmp_path / "1", 1, 1)
    for number, names in ((2, ("gradients", "methods")), (4, ("gradients",))):
        for rank in play(tmp_path / str(number), number, *names):
            check_gradients(rank["gradients"], alone)
            for method, expected in each.items() if "methods" in rank else ():
                found = rank["methods"][method]
                assert found.keys() == expected.keys()
                for name, one in expected.items():
                    off = (found[name] - one).norm() / one.norm().clamp(min=1e-8)
                    assert off <= 1e-3, (method, name)


@pytest.mark.parametrize("norm", ["frozen", "trained"])
def test_a_run_of_two_processes(
    command: Command, tmp_path: Path, norm: str, device: torch.device
) -> None:
    """With BatchNorm that learns its statistics, these are shared."""
    gpu = device.type == "cuda"
    words = (
        *(*FINDING, "trainer.accelerator=" + ("gpu" if gpu else "cpu"), "run_dir=run"),
        *("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2"),
        "+trainer.strategy.process_group_backend=gloo",
        f"model.backbone.norm={norm}",
        f"trainer.sync_batchnorm={'true' if gpu and norm == 'trained' else 'false'}",
    )
    start = [sys.executable, "-m", "fcos_lightning.cli.train", *words]
    printed = together(tmp_path, [start, start], nodes(2))
    assert "2 device(s), 4 each" in printed[0] and "2 device(s)" not in printed[1]
    test = command(
        *("test", "ckpt=run/checkpoints/best.ckpt", "trainer=default", "run_dir=alone"),
    )
    assert test.code == 0, test.err
    read = [(tmp_path / run / "metrics.json").read_text() for run in ("run", "alone")]
    found, alone = (json.loads(one) for one in read)
    assert found["AP"] > 0 and alone["AP"] == pytest.approx(found["AP"], abs=0.02)


def test_one_process_of_ddp(command: Command, tmp_path: Path, device: torch.device) -> None:
    """By NCCL, where it is a GPU."""
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    words = ("trainer=ddp", "trainer.devices=1", f"trainer.accelerator={accelerator}")
    run = command("train", *FINDING, *words, "run_dir=run")
    assert run.code == 0, run.err
