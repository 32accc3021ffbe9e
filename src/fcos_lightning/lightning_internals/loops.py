"""Where in a run Lightning's loops are, and what a checkpoint holds of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L


def place_in_run(trainer: L.Trainer) -> tuple[int, int]:
    """Return the epoch that is learnt from, and how many of its batches a resumed run has behind.

    Lightning asks for the loader when the state of its loops is restored, and starts the loader's
    processes before it sets the sampler's epoch. In public ``current_epoch`` lags behind until a
    resumed run begins, and ``global_step`` counts optimiser steps of the whole run, from which
    batches of this epoch do not follow. A loader could keep a state of its own, but its processes
    read ahead of what was learnt from.

    Args:
        trainer: that asks for the loader.
    """
    loop: Any = trainer.fit_loop
    epochs = loop.epoch_progress
    within = epochs.total.processed < epochs.total.started
    batches = loop.epoch_loop.batch_progress.current.ready
    return epochs.current.processed, batches if within else 0


def _thinks_validation_is_due(trainer: L.Trainer) -> bool:
    """Tell whether Lightning, if it went on before the batch just fetched, would validate first."""
    loop: Any = trainer.fit_loop.epoch_loop
    every = trainer.val_check_batch
    if not loop._should_check_val_epoch() or every in (None, float("inf")):
        return False
    progress = loop.batch_progress
    counted = progress.total if trainer.check_val_every_n_epoch is None else progress.current
    return bool((counted.ready - 1) % every == 0)


def fit_loop_state(trainer: L.Trainer) -> dict[str, Any]:
    """Return the state of a Trainer's loop, of the form that its checkpoints hold.

    In public a checkpoint only comes as a file, and its ``loops`` are documented as opaque.
    """
    state: dict[str, Any] = trainer.fit_loop.state_dict()
    return state


def stored_fit_loop(checkpoint: Mapping[str, Any]) -> Any:  # noqa: ANN401  # whatever lies there
    """Return what a checkpoint holds in the place of ``fit_loop_state``; None: nothing."""
    loops = checkpoint.get("loops")
    return loops.get("fit_loop") if isinstance(loops, dict) else None


def steps_logged(checkpoint: Mapping[str, Any]) -> int:
    """Return the number of the step under which Lightning logs next.

    In public there is ``global_step``, which is ahead of it from the optimiser's step to the end of
    the batch and of the validation behind it.

    Args:
        checkpoint: that is being saved.
    """
    return int(stored_fit_loop(checkpoint)["epoch_loop.state_dict"]["_batches_that_stepped"])


def as_after_validation(checkpoint: dict[str, Any]) -> None:
    """Have a resumed loop not repeat the validation that is over.

    A validation that was begun in one process and finished in another stays begun and unfinished in
    the counts of all validations, by which Lightning decides.

    Args:
        checkpoint: that is being saved after it, in the same epoch; changed in place.
    """
    total = stored_fit_loop(checkpoint)["epoch_loop.val_loop.batch_progress"]["total"]
    total.update(dict.fromkeys(total, total["ready"]))


def as_between_batches(checkpoint: dict[str, Any], trainer: L.Trainer) -> None:
    """Turn the state of a loop that has fetched a batch into that of one about to fetch it.

    Lightning has no hook between two steps after everything of the first is done and logged. At
    ``on_train_batch_start`` all is as wanted, except that the new batch is counted already.

    Args:
        checkpoint: that is being saved in that hook; changed in place.
        trainer: that saves it.
    """
    as_after_validation(checkpoint)
    loop = stored_fit_loop(checkpoint)
    progress = loop["epoch_loop.batch_progress"]
    progress["total"]["ready"] -= 1
    progress["current"]["ready"] -= 1
    progress["is_last_batch"] = False
    if _thinks_validation_is_due(trainer):
        # Lightning will pass over that validation, since it is done, and count the step once more.
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def as_before_validation(checkpoint: dict[str, Any]) -> None:
    """Have a resumed loop run its validation before anything else.

    In public a checkpoint of ``on_validation_start`` counts as one of a validation that is over.
    Lightning validates where one was begun and not finished, and then from its first batch.

    Args:
        checkpoint: that is being saved in that hook; changed in place.
    """
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress = stored_fit_loop(checkpoint)["epoch_loop.val_loop.batch_progress"]
    progress["total"], progress["current"] = dict(begun), dict(begun)
    progress["is_last_batch"] = False


class LastValidation(L.Callback):
    """Has a run whose length is in steps measure after its last one, if it was ended before that.

    Lightning takes such a run for finished as soon as it has all its steps, and leaves out the
    validation that a checkpoint of ``as_before_validation`` says is due. In public the number of
    steps is fixed.
    """

    def __init__(self) -> None:
        self._due = False

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """See whether a validation was begun and not finished; called by Lightning."""
        loop = stored_fit_loop(checkpoint)
        try:
            counts = loop["epoch_loop.val_loop.batch_progress"]["total"]
            self._due = counts["started"] == counts["ready"] == counts["processed"] + 1
        except (KeyError, TypeError):  # of another form, which is said elsewhere
            self._due = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the loop begin; no step is taken, as those of the epoch are. Called by Lightning."""
        if self._due and trainer.max_steps > 0:
            trainer.fit_loop.epoch_loop.max_steps += 1

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take that back; called by Lightning."""
        self._end(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Take that back where no validation is due after all; called by Lightning."""
        self._end(trainer)

    def _end(self, trainer: L.Trainer) -> None:
        if self._due and trainer.max_steps > 0:
            trainer.fit_loop.epoch_loop.max_steps -= 1
        self._due = False


def as_after_epoch(checkpoint: dict[str, Any], trainer: L.Trainer) -> None:
    """Turn the state of a loop that is ending an epoch into that of one that is about to begin one.

    In public a checkpoint may be taken in ``on_train_epoch_end``. A run whose length is counted in
    steps takes such an epoch for one that was left in its midst, and ends it once more.

    Args:
        checkpoint: that is being saved in that hook; changed in place.
        trainer: that saves it.
    """
    as_after_validation(checkpoint)
    loop = stored_fit_loop(checkpoint)
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    for progress in (epochs["total"], epochs["current"]):
        progress["completed"] = progress["processed"]
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["is_last_batch"] = False
    every, epochs_between = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if trainer.max_steps == -1 or every in (None, float("inf")):
        return
    # Such a run asks, before the first batch, whether a validation is due after the one before.
    # It passes over that validation, since it is done, and counts the step once more.
    if epochs_between is None:
        due = batches["total"]["ready"] % every == 0
    else:
        due = (epochs["current"]["completed"] + 1) % epochs_between == 0
    if due:
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
