"""Runs that are left at any place, in this process, and gone on with."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from fcos_lightning.runs import ending
from fcos_lightning.runs.configuration import composed
from fcos_lightning.runs.ending import report
from fcos_lightning.runs.opaque import opaque_text
from fcos_lightning.runs.session import Session
from fcos_lightning.storage.run_folder import RunFolder

#: Three batches an epoch; weights, their average, figures and pictures are kept.
WORDS = (
    "experiment=quickstart",
    "callbacks=ema",
    "callbacks.progress=null",
    "callbacks.previews.images=1",
    "logger.tensorboard=null",
    "data.train_images=12",
    "data.val_images=4",
    "data.image_px=64",
    "data.shorter_side=64",
    "data.longer_side=64",
    "data.batch_size=4",
    "data.eval_batch_size=2",
    "data.num_workers=0",
    "model.backbone.widths=[8,8,8,8]",
    "model.fpn.channels=8",
    "model.head.num_convs=1",
    "model.decoder.score_threshold=0.01",
    "schedule.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "checkpoint.every_n_minutes=null",
)


class Gone(BaseException):
    """In the place of a kill; nothing that catches errors catches this."""


@dataclass(frozen=True)
class Place:
    """Where a run is left.

    Attributes:
        where: a hook of a Lightning callback, or the name of a function of ``runs.ending``.
        nth: the how-manieth time that it is come by in this process, from 1.
        late: after all other callbacks rather than before them; after the function.
    """

    where: str
    nth: int = 1
    late: bool = False


class Leave(L.Callback):
    """Leaves a run at a hook."""

    def __init__(self, place: Place) -> None:
        self.left = place.nth

        def leave(*_: object, **__: object) -> None:
            self.left -= 1
            if self.left == 0:
                raise Gone

        setattr(self, place.where, leave)


@contextmanager
def leaving(place: Place | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave at a function of ``runs.ending``."""
    if place is None or place.where.startswith("on_"):
        yield
        return
    whole, calls = getattr(ending, place.where), 0

    def leave(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == place.nth and not place.late:
            raise Gone
        result = whole(*args, **kwargs)
        if calls == place.nth:
            raise Gone
        return result

    with monkeypatch.context() as patched:
        patched.setattr(ending, place.where, leave)
        yield


def go(
    folder: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, place: Place | None
) -> bool:
    """Begin a run or go on with it, and leave it at a place.

    Returns:
        Whether it came to its end.
    """
    run = RunFolder(folder)
    resumed = run.last.is_file()
    with composed("train", (*WORDS, *words), None) as config:
        config.run_dir = opaque_text(str(folder))
        session = Session.prepare(config, resumed)
        trainer = session.make_trainer()
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if place is not None and place.where.startswith("on_"):
            callbacks.insert(len(callbacks) if place.late else 0, Leave(place))
        folder.mkdir(exist_ok=True)
        try:
            with leaving(place, monkeypatch):
                session.fit(trainer, run, resumed)
                report(session, run)
        except Gone:
            return False
    return True


def differences(whole: Path, cut: Path) -> list[str]:
    """Name what of a run is not what it is in one that was left alone, bit for bit."""
    found = []
    for name in ("last", "best"):
        one, other = (_read(run / f"checkpoints/{name}.ckpt") for run in (whole, cut))
        keys = ("state_dict", "global_step", "epoch")
        keys += ("current_model_state", "averaging_state", "optimizer_states", "lr_schedulers")
        keys += ("fcos_logged",) if name == "last" else ()
        found += [f"{name}: {key}" for key in keys if not same(one.get(key), other.get(key))]
    if rows(whole) != rows(cut):
        found.append(f"metrics.csv: {rows(whole)} {rows(cut)}")
    for name in ("metrics.json", "predictions.json"):
        if (whole / name).read_bytes() != (cut / name).read_bytes():
            found.append(name)
    pictures = [
        {p.name: p.read_bytes() for p in (run / "previews").iterdir()} for run in (whole, cut)
    ]
    if pictures[0] != pictures[1]:
        found.append("previews")
    files = [sorted(p.name for p in run.rglob("*")) for run in (whole, cut)]
    if files[0] != files[1]:
        found.append(f"files: {files}")
    return found


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(file, weights_only=True)
    return content


def same(one: Any, other: Any) -> bool:
    """Compare two trees of plain values and tensors."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and set(one) == set(other)
            and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def rows(run: Path) -> list[tuple[str, ...]]:
    """What the log says of each step, but for the times."""
    with (run / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    return [
        tuple(value for key, value in row.items() if not key.startswith("speed/")) for row in table
    ]
