"""Going on from a checkpoint: what a run takes over from it is of the form that it writes itself.

Lightning and torch take over what they find: a learning rate that is a text fails a step later, a
list without the optimiser's state means in silence that it starts anew.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.connectors import checkpoint_connector
from torch import Tensor
from torch.optim import Optimizer

from fcos_lightning.errors import UserError, shown
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO

#: What Lightning's ModelCheckpoint keeps, and of which kind it is.
_BEST: Mapping[str, tuple[type, ...]] = {
    "best_model_score": (Tensor, type(None)),
    "current_score": (Tensor, type(None)),
    "kth_value": (Tensor,),
    "best_model_path": (str,),
    "kth_best_model_path": (str,),
    "last_model_path": (str,),
    "best_k_models": (dict,),
}


@contextmanager
def going_on_from(file: Path | None) -> Iterator[None]:
    """Turn whatever fails while Lightning takes a checkpoint over into one line.

    Args:
        file: the checkpoint; None: the run starts anew.

    Raises:
        UserError: naming the file.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of torch, of Lightning and of all callbacks
        if file is None or not _comes_of_the_checkpoint(error):
            raise
        raise UserError(
            f"{file}: the run cannot go on from it ({type(error).__name__}: "
            f"{shown(' '.join(str(error).split()), 200)[1:-1]}); start it anew"
        ) from error


def _comes_of_the_checkpoint(error: Exception) -> bool:
    """Tell by where it was raised: while Lightning restores, or by an optimiser that was restored.

    What an optimiser keeps is its own affair, and shows only in its next step.
    """
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    by_optimiser = files[-1].startswith(str(Path(torch.optim.__file__).parent))
    of_state = isinstance(error, AttributeError | AssertionError | KeyError | TypeError)
    return checkpoint_connector.__file__ in files or (by_optimiser and of_state)


class CheckResumed(L.Callback):
    """Looks at what a checkpoint holds of loops, optimisers and schedulers, before it is used."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the checkpoint with the run that goes on; called by Lightning in between.

        Raises:
            UserError: naming the first place of another form.
        """
        plugin = trainer.strategy.checkpoint_io
        loaded = plugin.take_loaded() if isinstance(plugin, AtomicCheckpointIO) else None
        if loaded is None:
            return
        file, content = loaded
        try:
            check_resumed(content, trainer)
        except UserError as error:
            raise UserError(f"{file}: the run cannot go on from it: {error}") from error


def check_resumed(content: Mapping[str, Any], trainer: L.Trainer) -> None:
    """Refuse a checkpoint that a run of this form has not written.

    Args:
        content: of the checkpoint.
        trainer: its optimisers are made, and not yet filled.

    Raises:
        UserError: naming the first place of another form.
    """
    loops = content.get("loops")
    loop = loops.get("fit_loop") if isinstance(loops, dict) else None
    _check_form(loop, trainer.fit_loop.state_dict(), "loops.fit_loop")
    states = _as_many(content, "optimizer_states", len(trainer.optimizers))
    for index, (state, optimizer) in enumerate(zip(states, trainer.optimizers, strict=True)):
        _check_optimizer(state, optimizer, f"optimizer_states.{index}")
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    states = _as_many(content, "lr_schedulers", len(schedulers))
    for index, (state, scheduler) in enumerate(zip(states, schedulers, strict=True)):
        place = f"lr_schedulers.{index}"
        _check_form(state, scheduler.state_dict(), place)
        for key in state:
            if callable(getattr(type(scheduler), key, None)):
                raise UserError(f"{place} has {shown(key)}, which is no state")
    for name, state in _dictionary(content.get("callbacks", {}), "callbacks").items():
        if str(name).startswith("ModelCheckpoint"):
            _check_best(state, "callbacks.ModelCheckpoint")


def _check_form(value: object, own: object, place: str) -> None:
    """Compare a plain tree with the run's own; what only the checkpoint has is left alone."""
    if isinstance(own, dict):
        found = _dictionary(value, place)
        for key in found:
            if not isinstance(key, str):
                raise UserError(f"{place} has the key {shown(key)}")
        missing = sorted(key for key in own if key not in found and _matters(own[key]))
        if missing:
            raise UserError(f"{place} lacks {shown(missing[0])}")
        for key in own:
            if key in found:
                _check_form(found[key], own[key], f"{place}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(own):
            raise UserError(f"{place} is {shown(value)}, not {len(own)} values")
        for index, (one, other) in enumerate(zip(value, own, strict=True)):
            _check_form(one, other, f"{place}.{index}")
    elif isinstance(own, int | float) and not isinstance(own, bool):
        if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 2**53:
            raise UserError(f"{place} is {shown(value)}, not a number")
    elif not isinstance(value, str | int | float | None):
        raise UserError(f"{place} is {shown(value)}")


def _matters(own: object) -> bool:
    """Switches come and go with torch's versions, and have a default."""
    return own is not None and not isinstance(own, bool)


def _check_optimizer(state: object, optimizer: Optimizer, place: str) -> None:
    own = optimizer.state_dict()
    found = _dictionary(state, place)
    _check_form(found.get("param_groups"), own["param_groups"], f"{place}.param_groups")
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for index, values in _dictionary(found.get("state"), f"{place}.state").items():
        where = f"{place}.state.{shown(index)}"
        if type(index) is not int or not 0 <= index < len(parameters):
            raise UserError(f"{where}: there are {len(parameters)} parameters")
        for key, value in _dictionary(values, where).items():
            if isinstance(value, Tensor):
                fits = value.shape in ((), parameters[index].shape) and not value.is_complex()
            else:
                fits = value is None or isinstance(value, int | float)
            if not isinstance(key, str) or not fits:
                raise UserError(f"{where} has another form than its parameter")


def _check_best(state: object, place: str) -> None:
    found = _dictionary(state, place)
    for key, kinds in _BEST.items():
        if not isinstance(found.get(key), kinds):
            raise UserError(f"{place}.{key} is {shown(found.get(key))}")
    for value in (*found["best_k_models"].values(), *(found.get(key) for key in _BEST)):
        if isinstance(value, Tensor) and (value.numel() != 1 or value.is_complex()):
            raise UserError(f"{place} has a score that is no number")


def _as_many(content: Mapping[str, Any], key: str, number: int) -> list[Any]:
    states = content.get(key)
    if not isinstance(states, list) or len(states) != number:
        raise UserError(f"it has no {key} of {number}")
    return states


def _dictionary(value: object, place: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{place} is {shown(value)}, not a dictionary")
    return value
