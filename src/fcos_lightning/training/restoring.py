"""A run's return to where its checkpoint left it, compared before it is taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import Optimizer

from fcos_lightning.checkpoints import read_checkpoint
from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line
from fcos_lightning.training.csv_log import rewind_logs
from fcos_lightning.training.state_checks import (
    Unfit,
    check_callback,
    check_content,
    check_optimizer,
    check_paths,
    compare,
)


class Restoring(L.Callback):
    """Watches over a run's return to where its checkpoint left it.

    Args:
        path: of the checkpoint.

    Attributes:
        at_work: whether an error that comes now is the checkpoint's: until training begins, and in
            the first step of the optimiser, which is the first to read its state.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at_work = True
        self._stepped = False
        self._content: dict[str, Any] = {}

    @classmethod
    def watch(cls, trainer: L.Trainer, module: L.LightningModule, path: Path) -> Restoring:
        """Look at what a run shall go on from, and have it compared as it is taken over.

        Args:
            trainer: of the run; gets this callback.
            module: of the run.
            path: of the checkpoint.

        Raises:
            UserError: naming what is not as it has to be.
        """
        content = read_checkpoint(path)
        try:
            check_content(content, module.state_dict())
        except Unfit as error:
            raise _refusal(path, f"its {error}") from error
        made = cls(path)
        trainer.callbacks.insert(0, made)  # type: ignore[attr-defined]  # set by a connector
        if trainer.is_global_zero:  # who writes the logs
            rewind_logs(trainer, content)
        return made

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare the loops and the callbacks; called by Lightning before it restores them.

        Raises:
            UserError: naming what is not as it has to be.
        """
        try:
            compare(checkpoint["loops"].get("fit_loop"), trainer.fit_loop.state_dict(), "loops")
            check_paths(checkpoint["callbacks"])
            for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
                state = checkpoint["callbacks"].get(callback.state_key)
                if state is not None:
                    check_callback(callback, state)
                    if isinstance(callback, ModelCheckpoint):
                        _follow(state, callback)
        except Unfit as error:
            raise _refusal(self.path, f"its {error}") from error
        self._content = checkpoint

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare optimisers and schedules; called by Lightning before it restores them.

        Raises:
            UserError: naming what is not as it has to be.
        """
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        try:
            for optimizer, state in self._each("optimizer_states", trainer.optimizers):
                check_optimizer(optimizer, state)
            for scheduler, state in self._each("lr_schedulers", schedulers):
                compare(state, scheduler.state_dict(), "lr_schedulers")
        except Unfit as error:
            raise _refusal(self.path, f"its {error}") from error
        self._content = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note that all is taken over; called by Lightning."""
        self.at_work = False

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Take note of the first step; called by Lightning."""
        self.at_work, self._stepped = not self._stepped, True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: object
    ) -> None:
        """Take note that a batch is done; called by Lightning."""
        self.at_work = False

    def failed(self, error: Exception) -> UserError:
        """Return what to say of an error that came while this was at work."""
        return _refusal(self.path, f"{type(error).__name__}: {first_line(error)}")

    def _each(self, key: str, own: list[Any]) -> list[tuple[Any, object]]:
        found = self._content.get(key)
        if not isinstance(found, list) or len(found) != len(own):
            raise Unfit(f"{key} has to be a list of {len(own)}")
        return list(zip(own, found, strict=True))


def _refusal(path: Path, problem: str) -> UserError:
    return UserError(
        f"checkpoint {path}: cannot be gone on from ({problem}); its weights may still do for a "
        f"new run with init_from={path}"
    )


def _follow(state: dict[str, Any], callback: ModelCheckpoint) -> None:
    """Let what a callback knows of its folder follow the folder, which was moved with its run."""
    before, now = state.get("dirpath"), callback.dirpath
    if not isinstance(before, str) or not before or now is None or before == str(now):
        return

    def moved(value: object) -> Any:  # noqa: ANN401  # of the same kind
        if isinstance(value, dict):
            return {moved(key): item for key, item in value.items()}
        if isinstance(value, str) and (value == before or value.startswith(f"{before}/")):
            return f"{now}{value[len(before) :]}"
        return value

    for key, value in list(state.items()):
        state[key] = moved(value)
