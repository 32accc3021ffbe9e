"""Training by torch.compile: minutes of translating, the same losses."""

import csv
from pathlib import Path

import pytest
from tests.cli.running import SMALL, Command

STEPS = ("trainer.max_steps=3", "trainer.log_every_n_steps=1")


@pytest.mark.slow
def test_a_compiled_run_loses_what_a_plain_one_does(command: Command, tmp_path: Path) -> None:
    losses = []
    for name, words in (("plain", ()), ("compiled", ("trainer.compile=true",))):
        folder = tmp_path / name
        run = command("train", *SMALL, *STEPS, f"run_dir={folder}", *words)
        assert run.code == 0, run.err
        with (folder / "metrics.csv").open() as file:
            losses.append([float(r["train/loss"]) for r in csv.DictReader(file) if r["train/loss"]])
    assert len(losses[0]) == 3
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-4)
    # AdamW's first updates have the size of the learning rate whatever the gradient's, so that
    # rounding turns those of near-zero gradients round.
    assert losses[1][2] == pytest.approx(losses[0][2], rel=2e-3)


def test_without_a_compiler_the_reason_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import torch._inductor.config

    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (str(tmp_path / "missing-c++"),))
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    run = command("train", *SMALL, *STEPS, f"run_dir={tmp_path / 'run'}", "trainer.compile=true")
    assert run.code == 2
    assert run.err.count("\n") == 1 and "trainer.compile=true: torch.compile cannot" in run.err
