"""A run goes on only from what a run like it writes; all else is one line."""

from __future__ import annotations

import contextlib
import copy
import importlib
import os
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from fcos_lightning import build_fcos, load_detector  # noqa: E402
from fcos_lightning.checkpoints import Checkpoint, describe  # noqa: E402
from fcos_lightning.errors import UserError  # noqa: E402
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO  # noqa: E402
from fcos_lightning.training.module import FCOSModule  # noqa: E402
from fcos_lightning.training.resuming import going_on_from  # noqa: E402
from hostile.doors import answer  # noqa: E402
from hostile.runs import fit, mutated  # noqa: E402

#: A detector that is made in no time.
OPTIONS: dict[str, Any] = {
    "backbone": {"name": "tiny", "frozen_stages": 0, "norm": "trained", "widths": [8, 8, 8, 8]},
    "fpn": {"channels": 16, "levels": [3, 4]},
    "head": {"num_convs": 1},
}

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    fit(folder, epochs=1)
    content: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return content


def resumed(tmp_path: Path, content: object) -> L.Trainer:
    file = tmp_path / "last.ckpt"
    torch.save(content, file)
    return fit(tmp_path, epochs=2, resume=file)


def test_an_honest_checkpoint_is_taken_over(tmp_path: Path, written: dict[str, Any]) -> None:
    trainer = resumed(tmp_path, written)
    assert trainer.global_step == 4
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 2
    state = trainer.optimizers[0].state_dict()["state"]
    assert [float(values["step"]) for values in state.values()] == [4.0, 4.0]


def test_switches_that_another_version_of_torch_has_or_lacks(
    tmp_path: Path, written: dict[str, Any]
) -> None:
    content = copy.deepcopy(written)
    del content["optimizer_states"][0]["param_groups"][0]["decoupled_weight_decay"]
    content["lr_schedulers"][0]["verbose"] = False
    assert resumed(tmp_path, content).global_step == 4


def at(*path: Any) -> Callable[[object], Change]:
    """Change what lies at a place: ``at("a", 0)(value)``; a function is called with the parent."""

    def to(value: object) -> Change:
        def change(content: dict[str, Any]) -> None:
            parent: Any = content
            for key in path[:-1]:
                parent = parent[key]
            if value is DELETED:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value

        return change

    return to


DELETED = object()
LOOP = ("loops", "fit_loop")
GROUP = ("optimizer_states", 0, "param_groups", 0)
STATE = ("optimizer_states", 0, "state", 0)

WRONG: dict[str, tuple[Change, str]] = {
    "no version": (at("pytorch-lightning_version")(DELETED), "pytorch-lightning_version is None"),
    "a version of words": (at("pytorch-lightning_version")("x"), "cannot go on from it"),
    "an epoch of words": (at("epoch")("x"), "its epoch is 'x'"),
    "weights in a list": (at("state_dict")([1]), "its state_dict is"),
    "a weight of words": (at("state_dict", "layer.bias")("x"), "cannot go on from it"),
    "a weight of another shape": (
        at("state_dict", "layer.bias")(torch.zeros(7)),
        "cannot go on from it",
    ),
    "no loops": (at("loops")(DELETED), "loops.fit_loop is None"),
    "loops in a list": (at("loops")([1]), "loops.fit_loop is None"),
    "a loop without progress": (at(*LOOP, "epoch_progress")(DELETED), "lacks 'epoch_progress'"),
    "a count of words": (
        at(*LOOP, "epoch_progress", "total", "ready")("x"),
        "loops.fit_loop.epoch_progress.total.ready is 'x', not a number",
    ),
    "a count that is none": (
        at(*LOOP, "epoch_progress", "total", "ready")(float("nan")),
        "ready is nan, not a number",
    ),
    "a count beyond any run": (
        at(*LOOP, "epoch_progress", "total", "ready")(2**62),
        "ready is 4611686018427387904, not a number",
    ),
    "no optimiser": (at("optimizer_states")([]), "has no optimizer_states of 1"),
    "an optimiser in a list": (at("optimizer_states", 0)([1]), "optimizer_states.0 is"),
    "no groups": (at("optimizer_states", 0, "param_groups")([]), "param_groups is"),
    "a rate of words": (at(*GROUP, "lr")("x"), "param_groups.0.lr is 'x', not a number"),
    "no rate": (at(*GROUP, "lr")(DELETED), "param_groups.0 lacks 'lr'"),
    "other parameters": (at(*GROUP, "params")([0]), "params is .0., not 2 values"),
    "a state of another shape": (at(*STATE, "exp_avg")(torch.zeros(9)), "has another form"),
    "a state of words": (at(*STATE, "exp_avg")("x"), "has another form"),
    "a state of no tensor": (at(*STATE, "exp_avg")(True), "has another form"),
    "half a state": (at(*STATE, "exp_avg")(DELETED), "cannot go on from it .KeyError: 'exp_avg'"),
    "a switch for other states": (at(*GROUP, "amsgrad")(True), "cannot go on from it .KeyError"),
    "a key that is no name": (at("lr_schedulers", 0, 5)(1), "lr_schedulers.0 has the key 5"),
    "a state of nothing": (at("optimizer_states", 0, "state", 9)({}), "there are 2 parameters"),
    "no scheduler": (at("lr_schedulers")([]), "has no lr_schedulers of 1"),
    "a scheduler's step": (at("lr_schedulers", 0, "step")(5), "has 'step', which is no state"),
    "rates of words": (at("lr_schedulers", 0, "base_lrs")("x"), "base_lrs is 'x'"),
    "a value of a class": (
        at("callbacks", "mine")({"at": Path("/runs")}),
        "PosixPath, which cannot be taken over",
    ),
    "callbacks in a list": (at("callbacks")([1]), "cannot go on from it"),
    "best of words": (
        lambda c: next(iter(c["callbacks"].values())).update(best_model_score="x"),
        "best_model_score is 'x'",
    ),
    "no best": (lambda c: next(iter(c["callbacks"].values())).clear(), "kth_value is None"),
    "best of many": (
        lambda c: next(iter(c["callbacks"].values())).update(kth_value=torch.zeros(3)),
        "a score that is no number",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_another_form_is_named_before_the_run_goes_on(
    tmp_path: Path, written: dict[str, Any], change: Change, said: str
) -> None:
    content = copy.deepcopy(written)
    change(content)
    with pytest.raises(UserError, match=said) as caught:
        resumed(tmp_path, content)
    assert "last.ckpt" in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_mutated_checkpoints_are_taken_over_or_refused_in_one_line(
    tmp_path: Path, written: dict[str, Any]
) -> None:
    kinds = set()
    for number in range(60):
        content = mutated(written, random.Random(20 + number))
        found = answer(lambda content=content: resumed(tmp_path, content))
        assert found.kind != "fault", (number, found.said)
        kinds.add(found.kind)
    assert kinds == {"read", "refused"}


@pytest.mark.parametrize("content", [[], {}, 5, {1: 2}, {"state_dict": {}}])
def test_what_is_no_checkpoint_of_a_run(tmp_path: Path, content: object) -> None:
    with pytest.raises(UserError, match=r"last\.ckpt: is not a checkpoint of a run"):
        resumed(tmp_path, content)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("weights_only", [None, False, True])
def test_whatever_lightning_asks_for_nothing_is_run(
    tmp_path: Path, weights_only: bool | None
) -> None:
    file = tmp_path / "last.ckpt"
    torch.save({"epoch": Evil(tmp_path / "mark")}, file)
    with pytest.raises(UserError, match="nothing in it was run"):
        AtomicCheckpointIO().load_checkpoint(file, weights_only=weights_only)
    file.write_bytes(pickle.dumps(Evil(tmp_path / "mark")))
    with pytest.raises(UserError, match="nothing in it was run"):
        AtomicCheckpointIO().load_checkpoint(file, weights_only=weights_only)
    assert not (tmp_path / "mark").exists()


def test_classes_that_a_checkpoint_names_are_not_looked_for(
    tmp_path: Path, written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # By these keys Lightning's own tools choose what to import and to call.
    (tmp_path / "evil_parts.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    named = {"_class_path": "evil_parts.Module", "_instantiator": "evil_parts.make"}
    content = {**written, "hyper_parameters": named, "datamodule_hyper_parameters": named}
    content |= {"hparams_name": "kwargs", "hparams_type": "evil_parts.Kind"}
    assert resumed(tmp_path, content).global_step == 4

    detector = build_fcos(num_classes=2, **OPTIONS)
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    file = tmp_path / "detector.ckpt"
    torch.save({**content, "state_dict": state, "fcos": describe(detector)}, file)
    load_detector(file)
    Checkpoint.read(file).start(detector)
    with contextlib.suppress(Exception):  # whether it can or not, it must not look for these
        FCOSModule.load_from_checkpoint(file, map_location="cpu", weights_only=True)
    assert not (tmp_path / "mark").exists()
    importlib.import_module("evil_parts")  # which would leave the mark
    assert (tmp_path / "mark").exists()


def test_errors_of_the_training_itself_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), going_on_from(tmp_path / "last.ckpt"):
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), going_on_from(None):
        1 / 0  # noqa: B018


def test_only_a_checkpoint_is_removed(tmp_path: Path) -> None:
    # The name of the best checkpoint so far comes out of a checkpoint.
    plugin = AtomicCheckpointIO()
    (tmp_path / "folder.ckpt").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "old.ckpt").write_text("")
    for name in ("folder.ckpt", "notes.txt", "old.ckpt", "none.ckpt"):
        plugin.remove_checkpoint(tmp_path / name)
    assert {file.name for file in tmp_path.iterdir()} == {"folder.ckpt", "notes.txt"}


def test_the_state_of_a_net_with_everything(tmp_path: Path) -> None:
    # Read exactly: tensors, their kinds, and containers, as torch itself reads them.
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    content = {
        "epoch": 0,
        "global_step": 5,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": net.state_dict(),
        "callbacks": {"EMA": {"seen": (1, 2.5, None), "set": {"a"}}},
    }
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "last.ckpt")
    found = AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")
    assert found["callbacks"] == content["callbacks"]
    for key, value in net.state_dict().items():
        assert torch.equal(found["state_dict"][key], value)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.ckpt").mkdir()
    for place in ("file/x/last.ckpt", "folder.ckpt", "n" * 300 + ".ckpt"):
        with pytest.raises(UserError, match=r"cannot write .*: "):
            AtomicCheckpointIO().save_checkpoint({"epoch": 1}, tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.ckpt"]
