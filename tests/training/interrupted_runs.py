"""Runs that are left at any place, in this process, and gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from fcos_lightning.runs import ending
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.config.opaque import opaque_text
from fcos_lightning.runs.ending import report
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
    if not resumed:  # the command sets such a run aside
        shutil.rmtree(folder, ignore_errors=True)
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
