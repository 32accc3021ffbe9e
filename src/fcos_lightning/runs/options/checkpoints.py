"""Lightning's ModelCheckpoint: how one keeps ``best.ckpt``, and what others may not touch.

A run reports, tests and hands on ``checkpoints/best.ckpt``. That is the best only if it is chosen
by a figure of the validation, at each of them, and written over. A test compares the table here
with Lightning's own signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint

from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.callbacks.figures import LOGGED
from fcos_lightning.training.callbacks.keep_last import KeepLast
from fcos_lightning.training.callbacks.keep_more import KeepMore

_BEST, _LAST = (Path(name).stem for name in (RunFolder.BEST, RunFolder.LAST))
_MORE = (
    "; to keep more, add +callbacks.more._target_="
    "fcos_lightning.training.callbacks.keep_more.KeepMore"
)
FIGURES = tuple(f"val/{name}" for name in LOGGED)


def _works(value: object) -> str | None:
    return None


def _only(remedy: str, *fine: object) -> Callable[[object], str | None]:
    return lambda value: None if any(value is one or value == one for one in fine) else remedy


#: What is said to a value of the one that keeps best.ckpt, by option; None where it works.
MODEL_CHECKPOINT: Mapping[str, Callable[[object], str | None]] = {
    "dirpath": _works,  # compared with the run folder's
    "filename": _only(f"the best checkpoint is called {_BEST}{_MORE}", _BEST),
    "monitor": _only(
        f"the best checkpoint is chosen by a figure of the validation: give one of "
        f"{', '.join(FIGURES)}",
        *FIGURES,
    ),
    "verbose": _only("the line of each epoch says its figures; leave it out", False),
    "save_last": _only(
        f"{RunFolder.LAST} is kept by callbacks.last, exactly enough to go on from", None, False
    ),
    "save_top_k": _only(f"there is one best checkpoint, so give 1{_MORE}", 1),
    "save_on_exception": _only(f"what an exception leaves is not the best{_MORE}", False),
    "save_weights_only": _works,
    "mode": _only("of these figures the highest is the best: give max", "max"),
    "auto_insert_metric_name": _works,
    "every_n_train_steps": _only(
        "between validations no figure is new: leave it out, and see trainer.val_check_interval",
        *(None, 0),
    ),
    "train_time_interval": _only(
        "between validations no figure is new: leave it out, and see trainer.val_check_interval",
        None,
    ),
    "every_n_epochs": _only(
        "the best of some epochs is not the best: leave it out, and see "
        "trainer.check_val_every_n_epoch",
        *(None, 1),
    ),
    "save_on_train_epoch_end": _only(
        "it is chosen at the end of each validation: leave it out", None, False
    ),
    "enable_version_counter": _only(
        f"a run that goes on would leave its first {RunFolder.BEST} behind: give false", False
    ),
}


def check_checkpoints(
    nodes: Mapping[str, Any], classes: Mapping[str, type], run: RunFolder
) -> None:
    """Refuse callbacks by which ``best.ckpt`` or ``last.ckpt`` would not be what they are called.

    Args:
        nodes: plain configuration of the callbacks, by name.
        classes: of those callbacks that are on.
        run: whose folder they write into.

    Raises:
        UserError: naming the option.
    """
    keepers = [key for key, one in classes.items() if issubclass(one, ModelCheckpoint)]
    options = {key: {**_defaults(classes[key]), **nodes[key]} for key in keepers}
    named = [key for key in keepers if _is_best(options[key], run)]
    if (not named and len(keepers) == 1) or ("best" in keepers and "best" not in named):
        named = ["best"] if "best" in keepers else keepers  # what is wrong with it, follows
    if not named:
        raise UserError(
            f"callbacks: none of them keeps {RunFolder.BEST}, which a run reports and hands on; "
            "leave callbacks.best as it is, or give another with its options"
        )
    if len(named) > 1:
        raise UserError(f"callbacks.{named[1]}: callbacks.{named[0]} writes {RunFolder.BEST} too")
    if not any(issubclass(one, KeepLast) for one in classes.values()):
        raise UserError(
            f"callbacks: none of them keeps {RunFolder.LAST}, without which a run that stops is "
            "lost; leave callbacks.last as it is, and see checkpoint.every_n_minutes"
        )
    _check_best(named[0], options[named[0]], run)
    told_by = {named[0]: _told_by(classes[named[0]], options[named[0]])}
    for key in keepers:
        if key == named[0]:
            continue
        _check_other(key, options[key], run)
        told = _told_by(classes[key], options[key])
        if same := next((other for other, by in told_by.items() if by == told), None):
            raise UserError(
                f"callbacks.{key}: to Lightning it is the same as callbacks.{same}, of the same "
                "figure and at the same times; give it another filename, with _target_="
                "fcos_lightning.training.callbacks.keep_more.KeepMore"
            )
        told_by[key] = told
    for key, one in classes.items():
        if issubclass(one, OnExceptionCheckpoint):
            _check_other(key, nodes[key], run)


def _told_by(kind: type, options: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what Lightning tells a checkpoint callback by."""
    looked_at = ("monitor", "mode", "every_n_train_steps", "every_n_epochs", "train_time_interval")
    name = options.get("filename") if issubclass(kind, KeepMore) else None
    return (kind, name, *(options.get(key) for key in looked_at))


def best_keeper(callbacks: Iterable[L.Callback], run: RunFolder) -> ModelCheckpoint:
    """Return the callback that keeps ``best.ckpt``, of which there is one."""
    for one in callbacks:
        if isinstance(one, ModelCheckpoint) and _is_best(vars(one), run):
            return one
    raise RuntimeError("check_checkpoints was not called")


def _is_best(options: Mapping[str, Any], run: RunFolder) -> bool:
    return options.get("filename") == _BEST and _inside(options.get("dirpath"), run)


def _check_best(key: str, options: Mapping[str, Any], run: RunFolder) -> None:
    for name, judge in MODEL_CHECKPOINT.items():
        value = options.get(name)
        if name in options and (remedy := judge(value)) is not None:
            raise UserError(f"callbacks.{key}.{name}={printable(_yaml(value))}: {remedy}")
    if not _inside(options.get("dirpath"), run):
        raise UserError(
            f"callbacks.{key}.dirpath={printable(_yaml(options.get('dirpath')))}: a run looks for "
            f"its best checkpoint in {run.checkpoints}; leave it as ${{run_dir}}/checkpoints{_MORE}"
        )


def _check_other(key: str, options: Mapping[str, Any], run: RunFolder) -> None:
    """Let a further one write anything but the two files that have a meaning."""
    if (remedy := MODEL_CHECKPOINT["verbose"](options.get("verbose", False))) is not None:
        raise UserError(f"callbacks.{key}.verbose=true: {remedy}")
    if not _inside(options.get("dirpath"), run, unsaid=True):
        return
    if options.get("filename") in (_BEST, _LAST):
        raise UserError(
            f"callbacks.{key}.filename={options['filename']}: is what the run itself keeps there; "
            "give another name"
        )
    if options.get("save_last"):
        raise UserError(
            f"callbacks.{key}.save_last={_yaml(options['save_last'])}: "
            f"{MODEL_CHECKPOINT['save_last'](True)}"
        )


def _inside(dirpath: object, run: RunFolder, unsaid: bool = False) -> bool:
    """Tell whether a folder is that of the run's checkpoints, which Lightning chooses unsaid."""
    if dirpath is None:
        return unsaid
    return Path(str(dirpath)).resolve() == run.checkpoints.resolve()


def _defaults(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _yaml(value: object) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
