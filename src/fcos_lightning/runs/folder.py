"""One folder for each run, which no other run writes into."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.config.stored import plain_yaml, read_plain_yaml
from fcos_lightning.runs.ranks import is_first_process, started_from_outside
from fcos_lightning.signals import Asked
from fcos_lightning.storage.folders import hold, remove_dead_drafts, set_aside
from fcos_lightning.storage.replacing import DRAFT, write_whole
from fcos_lightning.storage.run_folder import RunFolder

#: Lightning starts the other processes of a run itself; this tells them the folder.
_VARIABLE = "FCOS_RUN_DIR"
#: How long the loader processes of a run that was killed may take to end.
_PATIENCE_S = 20.0
#: How often a new run looks for its place where others come and go.
_TRIES = 5


class _Gone(UserError):
    """Another process renamed or removed a folder while this one waited for it."""


def new_run_folder(run_dir: str | None, name: str) -> Path:
    """Make and return the folder of a new run.

    Args:
        run_dir: what the user asked for; None: ``runs/<name>/<time>`` below the current folder.
        name: of the run.

    Raises:
        UserError: if the folder holds anything already, but for a run that was lost before its
            first checkpoint: that is set aside, and the same command runs again.
    """
    if run_dir is None and started_from_outside():
        raise UserError(
            "run_dir= is missing; when torchrun or srun starts the processes, they need a folder "
            "in common"
        )
    if not is_first_process():
        return Path(os.environ.get(_VARIABLE) or str(run_dir)).absolute()
    if run_dir is not None:
        folder = Path(run_dir).absolute()
        remove_dead_drafts(folder)
        if _is_taken(folder):
            with suppress(_Gone):  # then its name is free
                _set_lost_aside(folder, run_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or "too many folders in each other"
            raise UserError(
                f"run_dir={run_dir}: cannot be made: {reason}; choose another place"
            ) from error
    else:
        folder = _free(Path("runs", name, datetime.now().strftime("%Y-%m-%d_%H-%M-%S")).absolute())
    os.environ[_VARIABLE] = str(folder)
    return folder


@contextmanager
def held_new_run(run_dir: str | None, name: str) -> Iterator[Path]:
    """Make the folder of a new run, see ``new_run_folder``, and hold it.

    Another start of the same command may have taken the folder before this one held it, and may
    even be finished: so whether it is free is asked once more then.

    Raises:
        UserError: as ``new_run_folder``, or if another process works on it.
    """
    for _ in range(_TRIES):
        folder = new_run_folder(run_dir, name)
        try:
            with held_for_run(folder):
                if is_first_process() and _is_taken(folder):
                    continue  # the next round says by what, or sets it aside
                yield folder
                return
        except _Gone:
            continue
    raise UserError(
        f"run_dir={folder}: other processes make and remove this folder; choose another place"
    )


def new_levels(run_dir: str | None) -> int:
    """Return how many folders ``new_run_folder`` will make that may be taken back if empty."""
    # Of runs/<name>/<time>, what is there already stays because it is not empty.
    return 3 if run_dir is None else 0 if Path(run_dir).exists() else 1


def _set_lost_aside(folder: Path, run_dir: str) -> None:
    """Free the place of a run that was lost before its first checkpoint; nothing is thrown away.

    Raises:
        UserError: if what is there is anything else, or somebody works on it.
    """
    _refuse_all_but_lost(folder, run_dir)
    with held_for_run(folder, surely=True):
        if not _is_taken(folder):
            return
        _refuse_all_but_lost(folder, run_dir)  # who held it may have trained on
        try:
            aside = set_aside(folder, "lost")
        except OSError as error:
            raise UserError(
                f"run_dir={run_dir}: holds a run that was lost before its first checkpoint, and "
                f"cannot be renamed: {error.strerror}; choose a new folder"
            ) from error
    print(
        printable(
            f"run_dir={run_dir}: held a run that was lost before its first checkpoint, which is "
            f"{aside.name} now",
            LONGEST_LINE,
        ),
        flush=True,
    )


def _refuse_all_but_lost(folder: Path, run_dir: str) -> None:
    if _is_lost_run(folder):
        return
    what = "is not empty" if folder.is_dir() else "is a file"
    go_on = f", or go on with that run by resume={run_dir}"
    raise UserError(
        f"run_dir={run_dir}: {what}, and a run never writes into another's folder; "
        f"choose a new one{go_on if RunFolder(folder).config.is_file() else ''}"
    )


def _is_taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _is_lost_run(folder: Path) -> bool:
    """Tell whether a folder holds a run of this place, begun and without a checkpoint."""
    run = RunFolder(folder)
    if not folder.is_dir() or not run.config.is_file() or any(run.checkpoints.glob("*.ckpt")):
        return False
    try:
        told = str(read_plain_yaml(run.config).get("run_dir"))
        names = {entry.name for entry in folder.iterdir() if not entry.name.endswith(DRAFT)}
    except (UserError, OSError):
        return False
    return told == str(folder) and names <= RunFolder.OF_A_BEGINNING


@contextmanager
def held_for_run(folder: Path, surely: bool = False) -> Iterator[None]:
    """Keep other processes from working on a run.

    Args:
        folder: of the run.
        surely: whether it is an error if that is not to be had on this disk.

    What was known of the run before may be otherwise now: decide within.

    Raises:
        UserError: if another process does, or has removed the folder.
    """
    if not is_first_process():
        yield
        return
    try:
        lock = hold(folder, _PATIENCE_S)
    except BlockingIOError:
        raise UserError(
            f"{folder}: another process works on this run; wait for it, or stop it"
        ) from None
    except FileNotFoundError:
        raise _Gone(f"{folder}: another process has renamed or removed this run folder") from None
    if lock is None and surely:
        raise UserError(
            f"{folder}: holds a run without a checkpoint, and this disk does not say whether "
            "somebody works on it; remove it, or choose a new folder"
        )
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _free(wanted: Path) -> Path:
    """Make a folder of this name, or with a number behind it: two runs may start in one second."""
    for number in range(1000):
        folder = wanted if number == 0 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot make the run folder {folder}: {error.strerror}") from error
        return folder
    raise UserError(f"cannot find a free name for the run folder {wanted}")


@contextmanager
def removed_if_refused(
    run: RunFolder, levels: int, has_learnt: Callable[[], bool]
) -> Iterator[None]:
    """Take back a folder, and what was made for it above, if a run is refused before it learns.

    A folder that holds anything beside the configuration and empty logs, such as the batch that
    gave no finite loss, stays.

    Args:
        run: whose folder was new or empty.
        levels: how many of the folder and its parents were made for this run; only empty ones go.
        has_learnt: tells whether the run has taken a step.
    """
    try:
        yield
    except UserError:
        if is_first_process() and not has_learnt() and all(map(_of_a_beginning, _files(run.path))):
            for file in _files(run.path):
                file.unlink()
            _remove_empty(run.path, levels)
        raise


@contextmanager
def removed_if_stopped(folder: Path, levels: int) -> Iterator[None]:
    """Take back the folder of a run that is stopped before it has a checkpoint.

    Nobody else has written there, and the same command finds its place free.

    Args:
        folder: of the run; what it holds goes with it.
        levels: as of ``removed_if_refused``.
    """
    try:
        yield
    except (Asked, KeyboardInterrupt):
        if is_first_process() and not any(RunFolder(folder).checkpoints.glob("*.ckpt")):
            for entry in folder.iterdir() if folder.is_dir() else ():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
            _remove_empty(folder, levels)
        raise


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _of_a_beginning(file: Path) -> bool:
    """Tell what a run writes before its first step."""
    first = ("config.yaml", RunFolder.OWN, RunFolder.METRICS_CSV, "hparams.yaml")
    return file.name in first or file.name.startswith("events.out.tfevents.")


def _remove_empty(folder: Path, levels: int) -> None:
    inside = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    for empty in (*inside, *(folder, *folder.parents)[:levels]):
        try:
            empty.rmdir()  # fails on a folder that holds anything
        except OSError:
            break


def save_config(config: DictConfig, folder: Path) -> None:
    """Write the resolved configuration of a run.

    Raises:
        UserError: if it cannot be written.
    """
    if is_first_process():
        tree: Any = OmegaConf.to_container(config, resolve=True)
        write_whole(plain_yaml(tree), RunFolder(folder).config)
