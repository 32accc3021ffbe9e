"""What all commands share: Hydra in front, one clear line when the user can mend something.

Nothing here imports torch: help and mistyped overrides answer at once.
"""

from __future__ import annotations

import copyreg
import io
import sys
from collections.abc import Callable
from typing import NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import fcos_lightning.runs.opaque  # noqa: F401  # our resolver, which words may hold
from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, first_line, printable
from fcos_lightning.runs.configuration import config_dir
from fcos_lightning.shortages import shortage

#: Exit status for everything the user can mend.
USER_ERROR = 2


def run(task: Callable[[DictConfig], None], config_name: str) -> None:
    """Compose the configuration from the command line and run a task with it.

    A ``UserError`` is printed as one line and ends the process with status 2, as does what the
    system refuses, and a configuration that Hydra cannot compose; Hydra's own hint is kept.
    """
    # A name that the terminal has no letters for is no reason to end a run.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # For each group that help lists, Hydra copies its sources of configurations, and with them the
    # store behind one of them, which hands out copies only. A process has one store: so keep it.
    copyreg.pickle(ConfigStore, lambda _: (ConfigStore.instance, ()))
    started = False

    def guarded(config: DictConfig) -> None:
        nonlocal started
        started = True
        try:
            task(config)
        except OmegaConfBaseException as error:
            fail(UserError(f"configuration: {first_line(error)}"))
        except Exception as error:
            told = shortage(error)
            if told is None:
                raise
            fail(told)

    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)
    try:
        command(guarded)()
    except SystemExit as stop:
        if stop.code == 1 and not started:
            raise SystemExit(USER_ERROR) from None
        raise


def fail(error: BaseException) -> NoReturn:
    """Print an error as one line and end the process."""
    print(f"error: {printable(one_line(error), LONGEST_LINE)}", file=sys.stderr, flush=True)
    raise SystemExit(USER_ERROR)


def one_line(error: BaseException) -> str:
    """Return an error's message without the traceback that a loader process wraps it in."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught "):
        marker = "UserError: "
        lines = [line.split(marker, 1)[1] for line in lines if marker in line] or lines[-1:]
    return " ".join(line.strip() for line in lines)


def required(config: DictConfig, key: str, hint: str) -> str:
    """Return a value the user has to give.

    Raises:
        UserError: saying how, if it is missing.
    """
    value = config.get(key)
    if value in (None, ""):
        raise UserError(f"{key}= is missing; {hint}")
    return str(value)
