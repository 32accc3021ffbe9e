"""Broken and hostile checkpoints through the commands: one line, status 2, nothing run."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.cli.running import SMALL, Command, only_run


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def edited(content: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = copy.deepcopy(content)
    change(made)
    return made


def test_a_run_goes_on_from_nothing_but_what_it_wrote(command: Command, tmp_path: Path) -> None:
    assert command("train", *SMALL, "schedule.max_epochs=1").code == 0
    run, mark = only_run(tmp_path), tmp_path / "mark"
    last = run / "checkpoints" / "last.ckpt"
    whole = torch.load(last, weights_only=True)
    fit_loop = whole["loops"]["fit_loop"]
    assert "epoch_progress" in fit_loop
    cases: dict[str, Any] = {
        "nothing in it was run": edited(whole, lambda c: c.update(callbacks={"a": Evil(mark)})),
        "lacks 'epoch_progress'": edited(
            whole, lambda c: c["loops"]["fit_loop"].pop("epoch_progress")
        ),
        "has no optimizer_states of 1": edited(whole, lambda c: c.update(optimizer_states=[])),
        "its spec.head.num_convs is 'x'": edited(
            whole, lambda c: c["fcos"]["spec"]["head"].update(num_convs="x")
        ),
        "its fcos_logged is": edited(whole, lambda c: c.update(fcos_logged=[1])),
        "the run cannot go on from it": edited(whole, lambda c: c["state_dict"].popitem()),
        "is not a checkpoint of a run": {"fcos": whole["fcos"], "state_dict": whole["state_dict"]},
    }
    for said, content in cases.items():
        torch.save(content, last)
        result = command("train", f"resume={run}")
        assert result.code == 2, (said, result.err)
        assert said in result.err and "Traceback" not in result.err
        assert len(result.err.strip().splitlines()) == 1
        assert not mark.exists()


def test_a_broken_checkpoint_is_one_line_for_every_command(
    command: Command, tmp_path: Path
) -> None:
    assert command("train", *SMALL, "schedule.max_epochs=1").code == 0
    best = only_run(tmp_path) / "checkpoints" / "best.ckpt"
    whole = torch.load(best, weights_only=True)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    file, mark = tmp_path / "bad.ckpt", tmp_path / "mark"
    words = {
        "predict": (f"source={tmp_path}/a.png", f"out={tmp_path}/out", "device=cpu"),
        "convert": (f"out={tmp_path}/out.safetensors",),
        "test": ("trainer.accelerator=cpu", f"run_dir={tmp_path}/test"),
    }
    cases: dict[str, Any] = {
        "nothing in it was run": edited(whole, lambda c: c["fcos"].update(name=Evil(mark))),
        "has no weights": edited(whole, lambda c: c.pop("state_dict")),
        "is 'x', no tensor": edited(
            whole, lambda c: c["state_dict"].update({"detector.head.scales": "x"})
        ),
        "neither num_classes nor class_names": edited(
            whole, lambda c: c["fcos"]["spec"].update(num_classes=None, class_names=None)
        ),
        "data is [1], not a dictionary": edited(whole, lambda c: c["fcos"].update(data=[1])),
        "std has a 0": edited(whole, lambda c: c["fcos"]["spec"].update(input={"std": [0, 0, 0]})),
        "shorter_side is 'x'": edited(whole, lambda c: c["fcos"].update(shorter_side="x")),
    }
    for said, content in cases.items():
        torch.save(content, file)
        for name, more in words.items():
            result = command(name, f"ckpt={file}", *more)
            assert result.code == 2, (said, name, result.err)
            assert said in result.err and "Traceback" not in result.err, (name, result.err)
            assert not mark.exists()
            assert not list(tmp_path.glob("out*")) and not (tmp_path / "test").exists()


@pytest.mark.parametrize("suffix", [".ckpt", ".pth"])
def test_starting_from_a_hostile_file(command: Command, tmp_path: Path, suffix: str) -> None:
    torch.save({"state_dict": {"a": Evil(tmp_path / "mark")}}, tmp_path / f"evil{suffix}")
    result = command("train", *SMALL, f"init_from={tmp_path}/evil{suffix}")
    assert result.code == 2 and "nothing in it was run" in result.err
    assert not (tmp_path / "mark").exists() and not (tmp_path / "runs").exists()
