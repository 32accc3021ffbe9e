"""Going on from a checkpoint: what a run takes over from it is of the form that it writes itself.

Lightning and torch take over what they find: a learning rate that is a text fails a step later, a
list without the optimiser's state means in silence that it starts anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import Optimizer

from fcos_lightning.errors import UserError, shown
from fcos_lightning.lightning_internals import (
    MODEL_CHECKPOINT_STATE,
    fit_loop_state,
    stored_fit_loop,
    was_restoring,
)
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO

#: Of torch's optimisers, what a kernel reads as if it had the size of its weight.
_AS_WEIGHT = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta",
    "grad_avg", "sum", "exp_inf", "prev", "step_size", "ax",
}  # fmt: skip


class Unfit(UserError):
    """A value of a checkpoint is none that a run writes there; the message says which."""


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
    except Unfit as error:
        raise UserError(f"{file}: the run cannot go on from it: {error}") from error
    except UserError:
        raise
    except Exception as error:  # of torch, of Lightning and of all callbacks
        if file is None or not _about_its_state(error.__traceback__):
            raise
        raise UserError(
            f"{file}: the run cannot go on from it ({type(error).__name__}: "
            f"{shown(' '.join(str(error).split()), 200)[1:-1]}); start it anew"
        ) from error


def _about_its_state(trace: TracebackType | None) -> bool:
    """Tell errors of taking a state over, and of the optimiser that then works with it.

    The whole training step runs within the optimiser's, so only where an error begins counts.
    """
    restoring, innermost = was_restoring(trace), ""
    while trace is not None:
        innermost = trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
    return restoring or Path(innermost).parent == Path(torch.optim.__file__).parent


class CheckResumed(L.Callback):
    """Looks at what a checkpoint holds of loops, optimisers and schedulers, before it is used."""

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare the states of callbacks with theirs; called by Lightning before it fills them.

        Raises:
            Unfit: naming the first place of another form.
        """
        states = _dictionary(checkpoint["callbacks"], "callbacks")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            state = states.get(callback.state_key)
            if state is None:
                continue
            place = f"callbacks.{callback.state_key.split('{')[0]}"
            for key, own in callback.state_dict().items():
                if key in _dictionary(state, place) and isinstance(own, int | float | str):
                    _check_form(state[key], own, f"{place}.{key}")
            if isinstance(callback, ModelCheckpoint):
                _check_best(state, callback.save_top_k, place)
                _follow(state, callback)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the checkpoint with the run that goes on; called by Lightning in between.

        Raises:
            Unfit: naming the first place of another form.
        """
        plugin = trainer.strategy.checkpoint_io
        loaded = plugin.take_loaded() if isinstance(plugin, AtomicCheckpointIO) else None
        if loaded is None:
            return
        check_resumed(loaded[1], trainer)


def check_resumed(content: Mapping[str, Any], trainer: L.Trainer) -> None:
    """Refuse a checkpoint that a run of this form has not written.

    Args:
        content: of the checkpoint.
        trainer: its optimisers are made, and not yet filled.

    Raises:
        Unfit: naming the first place of another form.
    """
    _check_form(stored_fit_loop(content), fit_loop_state(trainer), "loops.fit_loop")
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
                raise Unfit(f"{place} has {shown(key)}, which is no state")


def _check_form(value: object, own: object, place: str) -> None:
    """Compare a plain tree with the run's own; what only the checkpoint has is left alone."""
    if isinstance(own, dict):
        found = _dictionary(value, place)
        for key in found:
            if not isinstance(key, str):
                raise Unfit(f"{place} has the key {shown(key)}")
        missing = sorted(key for key in own if key not in found and _matters(own[key]))
        if missing:
            raise Unfit(f"{place} lacks {shown(missing[0])}")
        for key in own:
            if key in found:
                _check_form(found[key], own[key], f"{place}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(own):
            raise Unfit(f"{place} is {shown(value)}, not {len(own)} values")
        for index, (one, other) in enumerate(zip(value, own, strict=True)):
            _check_form(one, other, f"{place}.{index}")
    elif isinstance(own, int | float) and not isinstance(own, bool):
        number = isinstance(value, int | float) and abs(value) < 2**62
        # Of loops they are counts, which nothing but whole numbers can be.
        if not number or (place.startswith("loops") and type(value) is not int):
            raise Unfit(f"{place} is {shown(value)}, not a number")
    elif not isinstance(value, str | int | float | None):
        raise Unfit(f"{place} is {shown(value)}")


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
            raise Unfit(f"{where}: there are {len(parameters)} parameters")
        for key, value in _dictionary(values, where).items():
            if isinstance(value, Tensor):
                shape = parameters[index].shape
                shapes = (shape,) if key in _AS_WEIGHT else ((), shape)
                fits = value.shape in shapes and not value.is_complex() and not value.is_sparse
            else:
                fits = value is None or (isinstance(value, int | float) and key not in _AS_WEIGHT)
            if not isinstance(key, str) or not fits:
                raise Unfit(f"{where} has another form than its parameter")


def _check_best(state: object, most: int, place: str) -> None:
    """What Lightning knows of the best checkpoints; files that it names may be removed."""
    found = _dictionary(state, place)
    for key, kinds in MODEL_CHECKPOINT_STATE.items():
        if not isinstance(found.get(key), kinds):
            raise Unfit(f"{place}.{key} is {shown(found.get(key))}")
    kept = found["best_k_models"]
    for value in (*kept.values(), *(found.get(key) for key in MODEL_CHECKPOINT_STATE)):
        if isinstance(value, Tensor) and (value.numel() != 1 or value.is_complex()):
            raise Unfit(f"{place} has a score that is no number")
    worst = found["kth_best_model_path"]
    if not all(isinstance(value, Tensor) for value in kept.values()) or (
        worst not in kept and (worst or 0 < most <= len(kept))
    ):
        raise Unfit(f"{place}.best_k_models has no score of its worst")
    paths = [value for value in (*kept, *found.values()) if isinstance(value, str)]
    for path in paths:
        if ".." in PurePath(path).parts:
            raise Unfit(f"{place} names {shown(path)}, which leads elsewhere")


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


def _as_many(content: Mapping[str, Any], key: str, number: int) -> list[Any]:
    states = content.get(key)
    if not isinstance(states, list) or len(states) != number:
        raise Unfit(f"it has no {key} of {number}")
    return states


def _dictionary(value: object, place: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise Unfit(f"{place} is {shown(value)}, not a dictionary")
    return value
