"""What is used of Lightning beyond its promises: each of these tests fails if it changes there."""

from __future__ import annotations

import csv
import io
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import rich
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, Timer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from rich.progress import Task
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fcos_lightning.lightning_internals import (
    MODEL_CHECKPOINT_STATE,
    ContinuingCSVLogger,
    LastValidation,
    ProgressBarFromOne,
    as_after_epoch,
    as_after_validation,
    as_before_validation,
    as_between_batches,
    fit_loop_state,
    place_in_run,
    processes_started,
    purge_from,
    signals_left_alone,
    steps_logged,
    stored_fit_loop,
    was_restoring,
)
from fcos_lightning.lightning_internals import logs as of_logs
from fcos_lightning.signals import STOPPING

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
]

BATCHES, EPOCHS = 6, 2


class Batches(Sampler[int]):
    """Numbers of a run's batches, from its place on; Lightning tells it later epochs."""

    def __init__(self, epoch: int, start: int) -> None:
        self.epoch, self.begin = epoch, (epoch, start)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[int]:
        start = self.begin[1] if self.epoch == self.begin[0] else 0
        return iter(range(self.epoch * BATCHES + start, (self.epoch + 1) * BATCHES))


class Tiny(L.LightningModule):
    """Writes down what it learns from and when it is measured; a number is all of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen: list[int | str] = []

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        self.seen.append(int(batch))
        loss = (self.weight * (1 + batch)).sum()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("score", self.weight.sum(), on_epoch=True)

    def on_validation_start(self) -> None:
        if not self.trainer.sanity_checking:
            self.seen.append("validated")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=1e-3, momentum=0.9)

    def train_dataloader(self) -> DataLoader[int]:
        sampler = Batches(*place_in_run(self.trainer))
        return DataLoader(range(1000), sampler=sampler)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(2))  # type: ignore[arg-type]


class Log(DummyLogger):
    """Keeps what Lightning logs, and under which step."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.lines.append((step, dict(metrics)))


@dataclass
class Moment:
    """A checkpoint in the midst of a run, and what the run has seen and logged by then."""

    before: str
    file: Path
    seen: int
    logged: int
    place: tuple[int, int]
    steps: int = -1


class Everywhere(Checkpoint):
    """Takes a checkpoint at each moment of a run at which ``KeepLast`` may take one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.moments: list[Moment] = []

    def take(self, trainer: L.Trainer, before: str, batch: int = 0) -> None:
        (log,), tiny = trainer.loggers, trainer.lightning_module
        assert isinstance(log, Log) and isinstance(tiny, Tiny)
        file = self.folder / f"{len(self.moments)}.ckpt"
        place = (trainer.current_epoch, batch)
        self.moments.append(Moment(before, file, len(tiny.seen), len(log.lines), place))
        trainer.save_checkpoint(file)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.take(trainer, "batch", batch_idx)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.take(trainer, "validation")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.take(trainer, "")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.take(trainer, "epoch's end")  # as ModelCheckpoint may

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        moment = self.moments[-1]
        moment.steps = steps_logged(checkpoint)
        if moment.before == "batch":
            as_between_batches(checkpoint, trainer)
        elif moment.before == "validation":
            as_before_validation(checkpoint)
        elif moment.before == "epoch's end":
            as_after_epoch(checkpoint, trainer)
        else:
            as_after_validation(checkpoint)


def fit(
    folder: Path,
    *callbacks: L.Callback,
    ckpt: Path | None = None,
    module: Tiny | None = None,
    **options: Any,
) -> tuple[Tiny, Log, L.Trainer]:
    log, module = Log(), module or Tiny()
    trainer = L.Trainer(
        default_root_dir=folder,
        max_epochs=None if "max_steps" in options else EPOCHS,
        accelerator="cpu",
        logger=log,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    trainer.fit(module, ckpt_path=ckpt, weights_only=True)
    return module, log, trainer


@dataclass
class Run:
    """A run that went through, and the moments from which it can go on."""

    options: dict[str, Any]
    module: Tiny
    log: Log
    moments: list[Moment]

    def before(self, what: str) -> list[Moment]:
        found = [moment for moment in self.moments if moment.before == what]
        assert found
        return found

    def check(self, moment: Moment, *callbacks: L.Callback) -> None:
        """Go on from a moment; all that follows is as it was."""
        module, log, trainer = fit(
            moment.file.parent, LastValidation(), *callbacks, ckpt=moment.file, **self.options
        )
        assert trainer.max_steps == self.options.get("max_steps", -1)
        assert module.seen == self.module.seen[moment.seen :], moment
        assert log.lines == self.log.lines[moment.logged :], moment
        assert torch.equal(module.weight, self.module.weight), moment


RUNS: dict[str, dict[str, Any]] = {
    "each epoch": {},
    "within epochs": {"val_check_interval": 2},
    "across epochs": {"val_check_interval": 4, "check_val_every_n_epoch": None},
    "each second epoch": {"check_val_every_n_epoch": 2},
    "accumulated": {"accumulate_grad_batches": 2, "val_check_interval": 2},
    "so many steps": {"max_steps": BATCHES * EPOCHS},
    "ends within an epoch": {"max_steps": BATCHES * EPOCHS + 2, "val_check_interval": 3},
    "steps, across epochs": {
        "max_steps": BATCHES * EPOCHS - 1,
        "val_check_interval": 4,
        "check_val_every_n_epoch": None,
    },
    "steps, each second epoch": {"max_steps": BATCHES * EPOCHS, "check_val_every_n_epoch": 2},
    "steps, accumulated": {
        "max_steps": BATCHES * EPOCHS // 2 - 1,
        "accumulate_grad_batches": 2,
    },
}


@pytest.fixture(scope="module", params=RUNS, ids=str)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, options = tmp_path_factory.mktemp("run"), RUNS[request.param]
    everywhere = Everywhere(folder)
    module, log, _ = fit(folder, everywhere, **options)
    learnt = [one for one in module.seen if one != "validated"]
    number = options.get("max_steps", BATCHES * EPOCHS // options.get("accumulate_grad_batches", 1))
    number *= options.get("accumulate_grad_batches", 1)
    assert learnt == list(range(number)) and len(module.seen) > len(learnt)
    return Run(options, module, log, everywhere.moments)


def test_as_between_batches(run: Run) -> None:
    for moment in run.before("batch"):
        run.check(moment)


def test_as_before_validation(run: Run) -> None:
    for moment in run.before("validation"):
        run.check(moment)


def test_as_after_epoch(run: Run) -> None:
    for moment in run.before("epoch's end"):
        run.check(moment)


def test_a_run_that_went_on_can_be_left_again(run: Run, tmp_path: Path) -> None:
    """Lightning's loops count otherwise where they go on within an epoch or a validation."""
    for what in ("batch", "validation", "epoch's end", ""):
        moments = run.before(what)
        for number, moment in enumerate((moments[0], *moments[1:][-2:])):
            folder = tmp_path / f"{what}{number}"
            folder.mkdir()
            again = Everywhere(folder)
            run.check(moment, again)
            for second in again.moments[:3]:
                seen, logged = moment.seen + second.seen, moment.logged + second.logged
                run.check(replace(second, seen=seen, logged=logged))


def test_as_after_validation(run: Run) -> None:
    for moment in run.before(""):
        run.check(moment)


def test_steps_logged(run: Run) -> None:
    steps = [step for step, _ in run.log.lines]
    for moment in (one for one in run.moments if one.before != "epoch's end"):
        if moment.logged < len(steps):
            assert steps[moment.logged] == moment.steps + (moment.before == ""), moment
    assert len(set(steps)) > 1


def test_place_in_run(run: Run) -> None:
    """Asked for by Lightning as soon as the state of the loops is restored."""

    class Asked(Tiny):
        places: list[tuple[int, int]]

        def train_dataloader(self) -> DataLoader[int]:
            self.places = [place_in_run(self.trainer)]
            return super().train_dataloader()

    begun, second, *_, latest = run.before("batch")
    ended = run.before("epoch's end")[0]
    ended = replace(ended, place=(ended.place[0] + 1, 0))
    for moment in (begun, second, latest, ended):
        module = Asked()
        fit(moment.file.parent, ckpt=moment.file, module=module, **run.options)
        assert module.places == [moment.place], moment
        assert module.seen == run.module.seen[moment.seen :], moment


def test_fit_loop_state_and_stored_fit_loop(run: Run, tmp_path: Path) -> None:
    _, _, trainer = fit(tmp_path, **run.options)
    for moment in run.moments:
        stored = stored_fit_loop(torch.load(moment.file, weights_only=True))
        assert form(stored) == form(fit_loop_state(trainer))
    assert form(stored)["epoch_progress"]["current"]["processed"] is int
    assert stored_fit_loop({"loops": []}) is stored_fit_loop({}) is None


def form(tree: Any) -> Any:
    """A tree with types in the place of values."""
    if isinstance(tree, dict):
        return {key: form(value) for key, value in tree.items()}
    return [form(one) for one in tree] if isinstance(tree, list | tuple) else type(tree)


@pytest.mark.parametrize("monitor", ["score", None])
def test_model_checkpoint_state(tmp_path: Path, monitor: str | None) -> None:
    best = ModelCheckpoint(tmp_path, monitor=monitor, save_last=True)
    fit(tmp_path, best, Timer())
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    assert best.state_key in stored and len(stored) == 2
    for key, kinds in MODEL_CHECKPOINT_STATE.items():
        assert isinstance(stored[best.state_key][key], kinds), key
    # A key that is not among these is taken over unseen.
    assert set(stored[best.state_key]) - set(MODEL_CHECKPOINT_STATE) == {"monitor", "dirpath"}


def test_was_restoring(tmp_path: Path) -> None:
    class Fails(L.Callback):
        def __init__(self, hook: str) -> None:
            setattr(self, hook, self.fail)

        def fail(self, *_: object) -> None:
            raise ZeroDivisionError

    everywhere = Everywhere(tmp_path)
    fit(tmp_path, everywhere)
    file = everywhere.moments[0].file
    for hook, restoring in (
        ("on_load_checkpoint", True),
        ("on_fit_start", False),
        ("on_train_start", False),
        ("on_train_batch_end", False),
    ):
        with pytest.raises(ZeroDivisionError) as failed:
            fit(tmp_path, Fails(hook), ckpt=file)
        assert was_restoring(failed.value.__traceback__) is restoring, hook
    broken = torch.load(file, weights_only=True)
    broken["optimizer_states"][0]["param_groups"][0]["params"].append(1)
    torch.save(broken, tmp_path / "broken.ckpt")
    with pytest.raises(ValueError, match="parameter group") as refused:
        fit(tmp_path, ckpt=tmp_path / "broken.ckpt")
    assert was_restoring(refused.value.__traceback__)


def test_purge_from(tmp_path: Path) -> None:
    for begin, value in ((0, 1.0), (2, 2.0)):
        logger = TensorBoardLogger(tmp_path, name="", version="")
        purge_from(logger, begin)
        for step in range(begin, 4):
            logger.log_metrics({"loss": value}, step)
        logger.finalize("success")
    shown = EventAccumulator(str(tmp_path)).Reload()
    found = [(event.step, event.value) for event in shown.Scalars("loss")]
    assert found == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]


def test_continuing_csv_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of before stay, also as a new figure makes the heading longer."""
    replaced: list[Path] = []
    replacing_text = of_logs.replacing_text

    def watched(path: Path, **options: Any) -> Any:
        replaced.append(path)
        return replacing_text(path, **options)

    monkeypatch.setattr(of_logs, "replacing_text", watched)
    for figures in ({"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0, "AP": 0.5}):
        logger = ContinuingCSVLogger(tmp_path, name="", version="")
        logger.log_metrics(figures, step=int(figures["loss"]))
        logger.finalize("success")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["AP", "loss", "step"], ["", "1.0", "1"], ["", "2.0", "2"], ["0.5", "3.0", "3"]]
    assert replaced == [tmp_path / "metrics.csv"]


def test_last_validation(tmp_path: Path) -> None:
    """Without it a run in steps that is left in its last validation never measures its end."""
    everywhere = Everywhere(tmp_path)
    fit(tmp_path, everywhere, max_steps=BATCHES)
    (moment,) = (one for one in everywhere.moments if one.before == "validation")
    without, _, _ = fit(tmp_path, ckpt=moment.file, max_steps=BATCHES)
    made_up, _, _ = fit(tmp_path, LastValidation(), ckpt=moment.file, max_steps=BATCHES)
    assert (without.seen, made_up.seen) == ([], ["validated"])


@pytest.mark.parametrize("asked", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
def test_signals_left_alone(tmp_path: Path, asked: type[BaseException]) -> None:
    class Looks(L.Callback):
        handlers: tuple[Any, ...] = ()

        def on_train_batch_start(self, *_: object) -> None:
            self.handlers = tuple(map(signal.getsignal, STOPPING))
            raise asked

    before = tuple(map(signal.getsignal, STOPPING))
    looks, trainer = (
        Looks(),
        L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False),
    )
    trainer.callbacks.append(looks)  # type: ignore[attr-defined]
    with pytest.raises(asked), signals_left_alone(trainer):
        trainer.fit(Tiny())
    assert looks.handlers == before == tuple(map(signal.getsignal, STOPPING))


def test_processes_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("LOCAL_RANK", "MASTER_PORT"):
        os.environ.pop(name, None)
    launchers = "lightning.pytorch.strategies.launchers.subprocess_script"
    monkeypatch.setattr(f"{launchers}.subprocess.Popen", lambda *_, **__: "a process")
    watched: list[Any] = []
    monkeypatch.setattr(f"{launchers}._launch_process_observer", watched.append)
    trainer = L.Trainer(accelerator="cpu", devices=3, strategy="ddp", logger=False)
    started: list[Any] = []
    processes_started(trainer, started)
    assert trainer.strategy.launcher is not None
    assert trainer.strategy.launcher.launch(lambda: "done") == "done"
    assert started == ["a process"] * 2 and watched == [[]]


def test_progress_bar_from_one(tmp_path: Path) -> None:
    class Bar(ProgressBarFromOne):
        def time_left(self, task: Task, training: bool) -> str:
            return f"<run, {task.completed:.0f}>" if training else f"<bar, {task.completed:.0f}>"

    drawn = io.StringIO()
    console = {"file": drawn, "force_terminal": True, "width": 100}
    bar = Bar(refresh_rate=1, console_kwargs=console)
    options: dict[str, Any] = {"limit_train_batches": 3, "limit_val_batches": 2, "max_epochs": 2}
    try:
        trainer = L.Trainer(
            accelerator="cpu", logger=False, callbacks=[bar], default_root_dir=tmp_path, **options
        )
        trainer.fit(BoringModel())
    finally:
        rich.reconfigure()
    said = drawn.getvalue()
    assert "Epoch 1/2" in said and "Epoch 2/2" in said and "Epoch 0" not in said
    assert "<run, " in said and "<bar, " in said
    assert "it/s" not in said and " • " not in said  # Lightning's own of an epoch
